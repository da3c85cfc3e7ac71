from __future__ import annotations

import pytest

from media.protocols.errors import CommandError
from media.protocols.rtmp.commands import stream_key


@pytest.mark.parametrize(
    ("app", "name", "tc_url", "key"),
    [
        ("live", "KEY", "rtmp://h/live", "KEY"),
        ("live/", "KEY", "", "KEY"),
        ("/live/", "/KEY/", "", "KEY"),
        ("live", "KEY?bandwidthtest=true", "", "KEY"),
        ("live", "?key=KEY", "", "KEY"),
        ("live", "stream?key=KEY", "", "KEY"),
        ("live", "stream?a=b&key=KEY&c", "", "KEY"),
        ("live", "?KEY", "", "KEY"),
        ("live?key=KEY", "", "", "KEY"),
        ("live?key=KEY", "anything", "", "KEY"),
        ("live", "", "rtmp://h/live?key=KEY", "KEY"),
        ("live", "anything", "rtmp://h/live?key=KEY", "KEY"),
        ("live/KEY", "", "rtmp://h/live/KEY", "KEY"),
        ("live", "live/KEY", "", "KEY"),
        ("live", "mp4:KEY", "", "KEY"),
        ("live", "a%2Bb", "", "a+b"),
        ("live", " KEY ", "", "KEY"),
        ("live?KEY", "", "", "KEY"),
        ("live", "", "rtmp://h/live", ""),
        ("", "", "", ""),
    ],
)
def test_where_a_key_may_be(app: str, name: str, tc_url: str, key: str) -> None:
    assert stream_key(app, name, tc_url) == key


def test_a_key_has_an_end() -> None:
    with pytest.raises(CommandError, match="stream key of 600"):
        stream_key("live", "k" * 600, "")
