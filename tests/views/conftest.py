"""What the tests of the views share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.browser import Browser


@pytest.fixture(scope="session")
def browser(oracle: Callable[[str], str]) -> Iterator[Browser]:
    with Browser(oracle("chromium")) as started:
        yield started
