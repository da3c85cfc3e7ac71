"""The setting for how long messages are gathered."""

from __future__ import annotations

import pytest

from realtime.ticks import ticks


def test_kinds_and_their_milliseconds() -> None:
    assert ticks("") == {}
    assert ticks("live=50, typing=0,") == {"live": 0.05, "typing": 0.0}


@pytest.mark.parametrize("wrong", ["live", "=5", "live=x", "live=-1", "live=nan", "live=1001"])
def test_what_is_none_is_said(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"live|=5|float"):
        ticks(wrong)
