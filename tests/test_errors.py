"""An error is the same wherever it is sent."""

from __future__ import annotations

import pickle

import pytest

from stubsim.errors import InternalError, StubsimError
from stubsim.formats import fdt
from stubsim.hosts.fixture import from_json


def test_errors_go_from_one_process_to_another():
    with pytest.raises(StubsimError) as caught:
        from_json({"edid": "$$", "memory": "much"})
    assert caught.value.more
    for error in (caught.value, fdt.CutOffError("short", offset=4), InternalError.of(MemoryError())):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))
        assert [*map(str, again.more)] == [*map(str, error.more)]
