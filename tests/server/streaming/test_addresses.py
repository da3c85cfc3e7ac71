"""Clients are told addresses they can reach."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from server.kit.http import Call
from server.kit.ids import uuid7
from server.kit.problems import BadRequest
from server.settings import SettingError
from server.streaming.addresses import Addresses
from server.streaming.broadcasts.routes import routes as broadcast_routes


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


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "127.0.0.1:8080",
        "live.example.org",
        "Live.Example.ORG:443",
        "web_1:8080",
        "[::1]",
        "[2001:db8::1]:80",
    ],
)
def test_without_a_public_address_the_host_of_the_request_is_taken(host: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Host": host})
    assert Addresses("", 1935, None).seen_from(request).http == f"http://{host}"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a@[::1",
        "evil.example/a",
        "evil.example?a",
        "evil.example#a",
        "user@evil.example",
        'evil.example"><script>',
        "evil.example\\a",
        "a b",
        "[::1",
        "[v1.x]",
        "[::1]x",
        "[12345::]",
        "x:",
        "x:port",
        "x:65536",
        "x:1:2",
        ".x",
        "-x",
        "xé",
        "x%2f",
        "x,y",
        "x" * 254,
    ],
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    request = make_mocked_request("GET", "/", headers={"Host": host})
    with pytest.raises(BadRequest, match="Host"):
        Addresses("", 1935, None).seen_from(request)
    public = Addresses("https://live.example.org", 1935, None).seen_from(request)
    assert public.http == "https://live.example.org"  # what the client says does not matter then


@pytest.mark.parametrize("hosts", [[], ["one.example", "two.example"]])
def test_one_host_is_needed(hosts: list[str]) -> None:
    request = make_mocked_request("GET", "/", headers=[("Host", host) for host in hosts])  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="Host"):
        Addresses("", 1935, None).seen_from(request)


@pytest.mark.parametrize(
    ("public", "secure"), [("", False), ("http://x", False), ("https://x", True), ("HTTPS://x/", True)]
)
def test_cookies_are_for_tls_only_where_the_public_address_has_it(public: str, secure: bool) -> None:
    assert Addresses(public, 1935, None).secure is secure


@pytest.mark.parametrize("public", ["https://", "https://[::1", "https:///x"])
def test_a_public_address_that_is_none_stops_the_start(public: str) -> None:
    with pytest.raises(SettingError, match="PUBLIC_URL"):
        Addresses(public, 1935, None)


@pytest.mark.parametrize("public", ["", "https://live.example.org"])
async def test_the_viewer_cookie_is_for_tls_only_where_the_public_address_has_it(public: str) -> None:
    call = Mock(spec=Call)
    listed = broadcast_routes(AsyncMock(), Addresses(public, 1935, None), Mock(**{"issue.return_value": "a.b"}))
    (join,) = [route for route in listed.routes if route.path == "/api/v1/live/{id}/join"]
    call.request = make_mocked_request("POST", "/", headers={"Host": "localhost"})
    await join.handler(call, uuid7())
    (given,) = call.set_cookie.call_args_list
    assert given.kwargs["secure"] is bool(public)
