"""Clients are told addresses they can reach."""

from __future__ import annotations

import pytest

from server.streaming.addresses import Addresses


@pytest.mark.parametrize(
    ("http", "rtmp_port", "rtmps_port", "rtmp", "rtmps"),
    [
        ("http://localhost:8080", 1935, None, "rtmp://localhost/live", None),
        ("http://192.0.2.5:8080", 1940, 1936, "rtmp://192.0.2.5:1940/live", "rtmps://192.0.2.5:1936/live"),
        ("https://live.example.org", 1935, 443, "rtmp://live.example.org/live", "rtmps://live.example.org/live"),
        ("http://[2001:db8::1]:8080", 1935, None, "rtmp://[2001:db8::1]/live", None),
        ("https://live.example.org", 0, 443, None, "rtmps://live.example.org/live"),
    ],
)
def test_ingest_is_where_the_page_was(
    http: str, rtmp_port: int, rtmps_port: int | None, rtmp: str | None, rtmps: str | None
) -> None:
    address = Addresses("", rtmp_port, rtmps_port).at(http)
    assert (address.rtmp, address.rtmps) == (rtmp, rtmps)
    ingest = address.ingest("sf_k")
    assert ingest.rtmp == (rtmp or rtmps or "") + "/sf_k"
    assert ingest.rtmp_server == (rtmp or rtmps)
