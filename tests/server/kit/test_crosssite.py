"""A page of another site cannot make a browser change something with a cookie of ours."""

from __future__ import annotations

import pytest

from tests.server.kit.feature import serve

THING = "/api/v1/things/optional"
COOKIE = {"Cookie": "viewer=abc"}
ELSEWHERE = "https://evil.example"
OURS = "https://live.example.org"
APP = "https://app.example.org"
CROSS = {"Sec-Fetch-Site": "cross-site"}
BEARER = {"Authorization": "Bearer ada"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        (COOKIE, 200),  # a program with a cookie that it means to send
        ({**COOKIE, "Sec-Fetch-Site": "same-origin", "Origin": OURS}, 200),
        ({**COOKIE, "Sec-Fetch-Site": "same-origin"}, 200),
        ({**COOKIE, "Sec-Fetch-Site": "none"}, 200),
        ({**COOKIE, "Origin": OURS}, 200),  # a browser without Sec-Fetch-Site
        ({**COOKIE, **CROSS, "Origin": APP}, 200),  # in CORS_ORIGINS
        ({**COOKIE, **CROSS, "Origin": ELSEWHERE}, 403),
        ({**COOKIE, **CROSS}, 403),
        ({**COOKIE, "Sec-Fetch-Site": "same-site", "Origin": "https://other.example.org"}, 403),
        ({**COOKIE, "Sec-Fetch-Site": "nonsense"}, 403),
        ({**COOKIE, "Origin": ELSEWHERE}, 403),
        ({**COOKIE, "Origin": "null"}, 403),  # a sandboxed frame
        ({**COOKIE, "Origin": "https://live.example.org.evil.example"}, 403),
        ({**COOKIE, "Origin": "http://live.example.org"}, 403),  # the same name without TLS
        ({**COOKIE, "Origin": "https://["}, 403),
        ({**CROSS, "Origin": ELSEWHERE}, 200),  # without a cookie there is nothing to borrow
        ({**COOKIE, **CROSS, **BEARER, "Origin": ELSEWHERE}, 200),  # only CORS can let a page send that
    ],
)
async def test_what_changes_something(headers: dict[str, str], status: int) -> None:
    async with (
        serve(public_url=OURS, cors_origins=APP) as client,
        client.post(THING, json={}, headers=headers) as answer,
    ):
        assert answer.status == status
        assert status == 200 or (await answer.json())["code"] == "cross_site"


async def test_without_a_public_url_the_host_that_was_asked_is_ours() -> None:
    async with serve(cors_origins="*") as client:
        own = str(client.make_url("/")).rstrip("/")
        for origin, status in ((own, 200), (ELSEWHERE, 403)):
            async with client.post(THING, json={}, headers={**COOKIE, "Origin": origin}) as answer:
                assert answer.status == status


async def test_reading_is_open_and_addresses_outside_the_api_are_guarded_too() -> None:
    async with serve(public_url=OURS) as client:
        async with client.get("/api/v1/things", headers={**COOKIE, **CROSS}) as answer:
            assert answer.status == 200
        async with client.post("/", headers={**COOKIE, **CROSS, "Origin": ELSEWHERE}) as answer:
            assert answer.status in (403, 405)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"public_url": OURS}, "max-age=31536000"),
        ({"public_url": OURS, "hsts_seconds": 60}, "max-age=60"),
        ({"public_url": OURS, "hsts_seconds": 0}, None),
        ({"public_url": "http://live.example.org"}, None),
        ({}, None),
    ],
)
async def test_browsers_are_told_to_keep_to_https(settings: dict[str, object], expected: str | None) -> None:
    async with serve(**settings) as client:
        for path in ("/api/v1/things", "/", "/api/v1/fail/bug", "/openapi.json", "/nowhere"):
            async with client.get(path) as answer:
                assert answer.headers.get("Strict-Transport-Security") == expected, path


async def test_frames_and_content_types() -> None:
    async with serve() as client:
        for path, frames in (("/api/v1/things", "DENY"), ("/", "SAMEORIGIN"), ("/api/v1/nothing", "DENY")):
            async with client.get(path) as answer:
                assert answer.headers["X-Frame-Options"] == frames
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "frame-ancestors" in answer.headers["Content-Security-Policy"]
                assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_other_origins_may_send_and_read_what_the_grammar_has() -> None:
    async with serve(cors_origins=APP) as client:
        asked = {"Origin": APP, "Access-Control-Request-Method": "PUT"}
        async with client.options("/api/v1/things", headers=asked) as answer:
            allowed = answer.headers["Access-Control-Allow-Headers"]
            assert all(name in allowed for name in ("Idempotency-Key", "If-Match", "If-None-Match", "Authorization"))
            assert "Access-Control-Allow-Credentials" not in answer.headers
        async with client.get("/api/v1/things", headers={"Origin": APP}) as answer:
            exposed = answer.headers["Access-Control-Expose-Headers"]
            assert all(name in exposed for name in ("ETag", "Idempotency-Replayed", "RateLimit", "Retry-After"))
