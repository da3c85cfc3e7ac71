"""What all addresses share: request ids, security headers, other origins, proxies, media that is left alone."""

from __future__ import annotations

import logging

import pytest

from server.kit.http.address import ClientAddress
from server.kit.http.headers import Cors
from server.kit.ids import uuid7
from server.settings import SettingError
from tests.server.kit.feature import Client, Recorder, serve


@pytest.mark.parametrize("given", ["abc", "A.b-c_d:e/f+g=", "01a1f92e-330b-7197-a27d-8603659a0cce"])
async def test_a_request_id_is_kept(client: Client, given: str) -> None:
    for path in ("/api/v1/things", "/", "/nowhere"):
        assert (await client.get(path, headers={"X-Request-ID": given})).headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a b", "a" * 200, "ä", "<script>", "-x", 'a"b'])
async def test_a_bad_request_id_is_replaced(client: Client, given: str) -> None:
    got = (await client.get("/api/v1/things", headers={"X-Request-ID": given})).headers["X-Request-ID"]
    assert got != given
    assert got
    assert got != (await client.get("/api/v1/things")).headers["X-Request-ID"]


async def test_api_answers_are_safe_in_a_browser(client: Client) -> None:
    headers = (await client.get("/api/v1/things")).headers
    assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Type"] == "application/json"


async def test_pages_are_safe_in_a_browser(client: Client) -> None:
    headers = (await client.get("/")).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'self'" in policy
    assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_pages_fail_as_problems_and_redirect_as_ever(client: Client, recorder: Recorder) -> None:
    answer = await client.get("/?bug")
    assert (answer.status, (await answer.json())["code"]) == (500, "internal")
    answer = await client.get("/?away", allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")
    assert recorder.seen == [("GET", "/", 500), ("GET", "/", 302)]


async def test_media_is_left_alone(client: Client, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="http"):
        answer = await client.get("/live/segment")
    assert set(answer.headers) == {"Content-Type", "Content-Length", "Date", "Server"}
    assert recorder.seen == []
    assert caplog.records == []


async def test_media_errors_are_problems(client: Client) -> None:
    for path, status in (("/live/none", 404), ("/live/bug", 500), ("/live/a/b/c", 404)):
        answer = await client.get(path)
        assert (answer.status, (await answer.json())["status"]) == (status, status)


async def test_a_log_line_a_request(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="http"):
        await client.get(f"/api/v1/things/{uuid7()}")
        await client.get("/health/live")
    record = next(record for record in caplog.records if hasattr(record, "fields"))
    assert record.fields["route"] == "/api/v1/things/{id}"
    assert (record.fields["method"], record.fields["status"]) == ("GET", 200)


async def test_other_origins_are_told_nothing_by_default(client: Client) -> None:
    origin = {"Origin": "https://app.example.org"}
    assert "Access-Control-Allow-Origin" not in (await client.get("/api/v1/things", headers=origin)).headers
    preflight = await client.options("/api/v1/things", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert preflight.status == 204
    assert "Access-Control-Allow-Origin" not in preflight.headers


async def test_origins_that_may_call() -> None:
    async with serve(cors_origins="https://app.example.org, http://localhost:3000/") as client:
        ours, theirs = {"Origin": "http://localhost:3000"}, {"Origin": "https://evil.example.org"}
        asked = {"Access-Control-Request-Method": "POST"}
        for path in ("/api/v1/things", "/api/v1/things/1", "/api/v1/fail/bug"):
            answer = await client.get(path, headers=ours)
            assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000", path
            assert answer.headers["Vary"] == "Origin"
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert "Access-Control-Allow-Origin" not in (await client.get(path, headers=theirs)).headers
        preflight = await client.options("/api/v1/things", headers={**ours, **asked})
        assert preflight.status == 204
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        assert (
            "Access-Control-Allow-Origin"
            not in (await client.options("/api/v1/things", headers={**theirs, **asked})).headers
        )


async def test_media_is_open_to_all_origins(client: Client) -> None:
    answer = await client.options("/live/x", headers={"Origin": "https://a", "Access-Control-Request-Method": "GET"})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert "Range" in answer.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("origins", ["app.example.org", "https://a/b", "*.example.org"])
def test_origins_that_are_none(origins: str) -> None:
    with pytest.raises(SettingError, match="CORS_ORIGINS"):
        Cors(origins)


@pytest.mark.parametrize(
    ("trusted", "forwarded", "expected"),
    [
        ("", "192.0.2.1", "127.0.0.1"),
        ("10.0.0.0/8", "192.0.2.1", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1", "192.0.2.1"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1, 10.0.0.0/8", "192.0.2.1, 10.1.1.1", "192.0.2.1"),
        ("127.0.0.0/8", "192.0.2.1:443", "192.0.2.1"),
        ("127.0.0.0/8", "[2001:db8::1]:443", "2001:db8::1"),
        ("127.0.0.0/8", "2001:db8::1", "2001:db8::1"),
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1, nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
async def test_the_client_behind_proxies(trusted: str, forwarded: str, expected: str) -> None:
    async with serve(trusted_proxies=trusted) as client:
        answer = await client.put(f"/api/v1/things/{uuid7()}/1/x", headers={"X-Forwarded-For": forwarded})
        assert (await answer.json())["address"] == expected


@pytest.mark.parametrize("trusted", ["proxy", "10.0.0.0/40", "1.2.3"])
def test_proxies_that_are_none(trusted: str) -> None:
    with pytest.raises(SettingError, match="TRUSTED_PROXIES"):
        ClientAddress(trusted)
