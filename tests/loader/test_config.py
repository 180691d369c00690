from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stubsim.loader.config import Config
from stubsim.loader.config import parse as parse_by
from stubsim.loader.releases import model_of

NEWEST = model_of("262.1")


def parse(content: bytes) -> Config:
    return parse_by(content, NEWEST)


def test_an_empty_file_has_the_defaults():
    assert parse(b"") == Config(None, None, True, True, False, False, False, ())


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (b"default  Lab-*.EFI", "default", "lab-*.efi"),
        (b"default @SAVED", "default", "@saved"),
        (b"preferred x", "preferred", "x"),
        (b"auto-entries no", "auto_entries", False),
        (b"auto-firmware 0", "auto_firmware", False),
        (b"auto-poweroff yes", "auto_poweroff", True),
        (b"auto-reboot t", "auto_reboot", True),
        (b"default a\ndefault b", "default", "b"),
    ],
)
def test_keys(line: bytes, field: str, value: object):
    assert getattr(parse(line), field) == value
    assert parse(line).ignored == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"auto-reboot maybe", "auto-reboot maybe: not a boolean"),
        (b"auto-reboot YES", "auto-reboot YES: not a boolean"),
        (b"default @last", "default @last: no such special entry"),
        (b"defualt x", "defualt: no such key"),
    ],
)
def test_what_is_ignored_is_told(line: bytes, why: str):
    assert parse(line) == Config(ignored=(why,))


def test_a_release_without_preferred_entries_does_not_know_the_key():
    assert parse_by(b"preferred x", model_of("257.13")) == Config(ignored=("preferred: no such key",))


def test_keys_of_the_menu_are_known():
    assert parse(b"timeout 3\neditor no\nconsole-mode max\n").ignored == ()


@given(st.binary(max_size=80))
def test_any_bytes(content: bytes):
    assert isinstance(parse(content), Config)
