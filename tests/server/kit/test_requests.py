"""What requests to declared routes get, above all bad ones."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from server.kit.ids import uuid7
from tests.server.kit.feature import Client, Recorder, serve

JSON = {"Content-Type": "application/json"}
ADA = {"Authorization": "Bearer ada"}
ROOT = {"Authorization": "Bearer root"}


async def problem(client: Client, method: str, path: str, **options: Any) -> tuple[int, str, dict[str, Any]]:
    """Ask for something bad, and hold the answer to what every problem is."""
    answer = await client.request(method, path, **options)
    assert answer.content_type == "application/problem+json", await answer.text()
    body = await answer.json()
    assert body["status"] == answer.status
    assert body["type"] == f"/problems/{body['code']}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Traceback" not in body["detail"]
    return answer.status, body["code"], body


async def test_a_good_request(client: Client, recorder: Recorder) -> None:
    answer = await client.post("/api/v1/things", json={"title": "ten"}, headers=ADA)
    assert answer.status == 201
    assert (await answer.json())["title"] == "ten"
    assert answer.headers["Location"] == "/api/v1/things/1"
    assert answer.headers["Set-Cookie"] == "seen=1; Path=/; SameSite=Lax; Max-Age=60; HttpOnly"
    assert recorder.seen == [("POST", "/api/v1/things", 201)]


@pytest.mark.parametrize(
    ("body", "status", "code", "path"),
    [
        (b"", 400, "malformed_body", None),
        (b"{", 400, "malformed_body", None),
        (b"{'title': 'a'}", 400, "malformed_body", None),
        (b'{"title":"a"} x', 400, "malformed_body", None),
        (b'{"title":"\xff"}', 400, "malformed_body", None),
        (b'{"title":"\x00"}', 400, "malformed_body", None),
        (b'{"title":"\\ud800"}', 400, "malformed_body", None),
        (b'{"title":"a","more":' + b"[" * 50_000, 400, "malformed_body", None),
        (b"\x00\x01\x02", 400, "malformed_body", None),
        (b"null", 422, "invalid_request", "$"),
        (b"[]", 422, "invalid_request", "$"),
        (b"{}", 422, "invalid_request", "$.title"),
        (b'{"title":null}', 422, "invalid_request", "$.title"),
        (b'{"title":""}', 422, "invalid_request", "$.title"),
        (b'{"title":"12345678901"}', 422, "invalid_request", "$.title"),
        (b'{"title":"a","size":10}', 422, "invalid_request", "$.size"),
        (b'{"title":"a","size":"1"}', 422, "invalid_request", "$.size"),
        (b'{"title":"a","size":1.5}', 422, "invalid_request", "$.size"),
        (b'{"title":"a","size":1e999}', 422, "invalid_request", "$.size"),
        (b'{"title":"a","inner":{"numbers":[1,"2"]}}', 422, "invalid_request", "$.inner.numbers[1]"),
        (b'{"title":"a\\u0000"}', 422, "invalid_request", "$"),
        (b'{"title":"taken"}', 409, "taken", None),
    ],
)
async def test_bad_bodies(client: Client, body: bytes, status: int, code: str, path: str | None) -> None:
    got = await problem(client, "POST", "/api/v1/things", data=body, headers={**JSON, **ADA})
    assert got[:2] == (status, code), got
    if path is not None:
        (error,) = got[2]["errors"]
        assert (error["in"], error["path"]) == ("body", path)
        assert error["message"]


async def test_a_problem_carries_what_its_feature_adds(client: Client) -> None:
    _, _, body = await problem(client, "POST", "/api/v1/things", json={"title": "taken"}, headers=ADA)
    assert (body["suggestion"], body["detail"], body["title"]) == ("taken2", "Choose another.", "It is taken")


async def test_text_that_only_looks_like_nul_is_fine(client: Client) -> None:
    answer = await client.post("/api/v1/things", data=rb'{"title":"\\u0000"}', headers={**JSON, **ADA})
    assert (await answer.json())["title"] == r"\u0000"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ";;;"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "br"}, 400),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 400),
        ({"Content-Type": "application/json; charset=utf-8"}, 201),
        ({"Content-Type": "application/vnd.thing+json"}, 201),
    ],
)
async def test_content_types(client: Client, headers: dict[str, str], status: int) -> None:
    answer = await client.post("/api/v1/things", data=b'{"title":"a"}', headers={**ADA, **headers})
    assert answer.status in ((400, 415) if status == 400 else (status,)), await answer.text()


async def test_a_body_may_be_left_out_when_nothing_in_it_is_needed(client: Client) -> None:
    assert await (await client.post("/api/v1/things/optional")).json() == {"force": False}
    assert await (await client.post("/api/v1/things/optional", json={"force": True})).json() == {"force": True}


async def test_large_bodies() -> None:
    async with serve(max_body=1000) as client:
        headers = {**JSON, **ADA}
        assert (await problem(client, "POST", "/api/v1/things", data=b" " * 1001, headers=headers))[0] == 413
        assert (await client.post("/api/v1/things", data=b'{"title":"a"}' + b" " * 987, headers=headers)).status == 201

        async def chunks() -> Any:
            for _ in range(50):
                yield b" " * 100

        got = await problem(client, "POST", "/api/v1/things", data=chunks(), headers=headers)
        assert got[:2] == (413, "body_too_large")


async def raw(client: Client, request: bytes, until: bytes = b"") -> tuple[bytes, bytes]:
    """Send bytes; the head and the body of what comes until the server closes, or until these bytes have come."""
    reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.readuntil(until) if until else reader.read(), 15)
    finally:
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


POST = b"POST /api/v1/things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ada\r\nContent-Type: application/json\r\n"


async def test_a_body_that_does_not_come() -> None:
    async with serve(body_timeout=0.05) as client:
        # aiohttp waits for the rest of such a body for 10 s before it closes: that is not waited for here
        head, _ = await raw(client, POST + b"Content-Length: 100\r\n\r\n{", until=b'"request_timeout"')
        assert head.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"BREW /api/v1/things HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS\r\n\r\n",
        b"\x03" + bytes(1536) + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ],
)
async def test_what_is_no_http(client: Client, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    head, body = await raw(client, request_)
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), head
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] in ("bad_request", "malformed_body")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("query", "status", "where"),
    [
        ("limit=0", 422, "limit"),
        ("limit=101", 422, "limit"),
        ("limit=abc", 422, "limit"),
        ("limit=", 422, "limit"),
        ("limit=99999999999999999999999999", 422, "limit"),
        ("limit=1&limit=2", 422, "limit"),
        ("before=9999-12-31T23:59:59-23:59", 422, "before"),
        ("before=0001-01-01T00:00:00%2B23:59", 422, "before"),
        ("before=2026-02-30T00:00:00Z", 422, "before"),
        ("text=%00", 422, "text"),
        ("exact=maybe", 422, "exact"),
        ("cursor=" + "a" * 600, 422, "cursor"),
        ("cursor=abc", 400, None),
        ("cursor=%F0%9F%92%A9", 400, None),
        *(("before=0.5", 422, "before"), ("before=1795195724", 422, "before"), ("before=inf", 422, "before")),
    ],
)
async def test_bad_queries(client: Client, query: str, status: int, where: str | None) -> None:
    got = await problem(client, "GET", f"/api/v1/things?{query}")
    assert got[0] == status, got
    if where is not None:
        assert (got[2]["errors"][0]["in"], got[2]["errors"][0]["path"]) == ("query", where)


@pytest.mark.parametrize(
    "query", ["", "?", "?unknown=1", "?text=%ff", "?limit=5&exact=true", "?&&=", "?%%%", "?before=9999-12-31T23:59:59Z"]
)
async def test_harmless_queries(client: Client, query: str) -> None:
    assert (await client.get(f"/api/v1/things{query}")).status == 200


@pytest.mark.parametrize(
    "id", ["1", "x" * 36, "%00", "%ff", "%2e%2e", "0" * 5000, "{01a1f92e-330b-7197-a27d-8603659a0cce}"]
)
async def test_paths_that_name_nothing(client: Client, id: str) -> None:
    assert (await problem(client, "GET", f"/api/v1/things/{id}"))[:2] == (404, "not_found")


@pytest.mark.parametrize("number", ["-1", "1.5", "a", "9" * 19, "٣", "1_0"])
async def test_path_numbers(client: Client, number: str) -> None:
    assert (await problem(client, "PUT", f"/api/v1/things/{uuid7()}/{number}/x"))[0] == 404


async def test_path_text(client: Client) -> None:
    answer = await client.put(f"/api/v1/things/{uuid7()}/7/a%20%C3%A4")
    assert (await answer.json())["name"] == "a ä"
    assert (await problem(client, "PUT", f"/api/v1/things/{uuid7()}/7/a%00b"))[0] == 404


async def test_unknown_routes_and_methods(client: Client, recorder: Recorder) -> None:
    assert (await problem(client, "GET", "/nowhere"))[:2] == (404, "not_found")
    status, code, body = await problem(client, "PATCH", "/api/v1/things")
    assert (status, code, body["allow"]) == (405, "method_not_allowed", ["DELETE", "GET", "HEAD", "POST"])
    assert (await client.patch("/api/v1/things")).headers["Allow"] == "DELETE, GET, HEAD, POST"
    assert recorder.seen[0] == ("GET", "unknown", 404)


async def test_a_fixed_address_is_no_parameter_of_another(client: Client) -> None:
    """/things/optional takes POST; /things/{id}, which fits it as well, is not asked what it takes."""
    for method in ("GET", "DELETE", "OPTIONS", "HEAD"):
        answer = await client.request(method, "/api/v1/things/optional")
        assert (answer.status, answer.headers["Allow"]) == (405, "POST"), method


async def test_head(client: Client) -> None:
    answer = await client.head("/api/v1/things")
    assert (answer.status, await answer.read()) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/v1/things", {}, 401),
        ("POST", "/api/v1/things", {"Authorization": "Bearer nobody"}, 401),
        ("POST", "/api/v1/things", {"Authorization": "Basic YTpi"}, 401),
        ("DELETE", "/api/v1/things", {}, 401),
        ("DELETE", "/api/v1/things", ADA, 403),
        ("GET", "/api/v1/things", {"Authorization": "Bearer nobody"}, 401),
    ],
)
async def test_who_may_call(client: Client, method: str, path: str, headers: dict[str, str], status: int) -> None:
    assert (await problem(client, method, path, json={"title": "a"}, headers=headers))[0] == status


async def test_who_may_call_does(client: Client) -> None:
    answer = await client.delete("/api/v1/things", headers=ROOT)
    assert (answer.status, await answer.read()) == (204, b"")
    assert "Content-Type" not in answer.headers
    assert (await client.get("/api/v1/things", headers={"Authorization": "Basic YTpi"})).status == 200
    path = f"/api/v1/things/{uuid7()}"
    assert (await (await client.get(path, headers=ADA)).json())["title"] == "ada"
    assert (await (await client.get(path)).json())["title"] == ""
    answer = await client.post("/api/v1/things/optional", headers={"Authorization": "Bearer nobody"})
    assert answer.status == 200  # an open route does not look at tokens


async def test_failures_are_logged_and_not_told(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        status, code, body = await problem(client, "GET", "/api/v1/fail/bug")
    assert (status, code) == (500, "internal")
    assert "secret detail" not in str(body)
    assert "ZeroDivisionError: secret detail" in caplog.text
    assert (await problem(client, "GET", "/api/v1/fail/timeout"))[0] == 500
    assert (await problem(client, "GET", "/api/v1/things", headers={"Authorization": "Bearer broken"}))[0] == 500


async def test_a_part_that_is_down_is_no_bug(client: Client) -> None:
    assert (await problem(client, "GET", "/api/v1/fail/database"))[:2] == (503, "unavailable")
    assert int((await client.get("/api/v1/fail/database")).headers["Retry-After"]) >= 1


async def test_exceptions_of_aiohttp_become_problems(client: Client) -> None:
    assert (await problem(client, "GET", "/api/v1/fail/aiohttp"))[:2] == (410, "gone")


async def test_etag(client: Client) -> None:
    path = f"/api/v1/things/{uuid7()}"
    first = await client.get(path)
    again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")
    other = await client.get(path, headers={"If-None-Match": first.headers["ETag"], **ADA})
    assert other.status == 200


async def test_pages_of_a_list(client: Client) -> None:
    titles, cursor = [], ""
    while True:
        page = await (await client.get(f"/api/v1/things?limit=10{cursor}")).json()
        titles += [item["title"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert titles == [f"t{number}" for number in range(25)]


async def test_two_tokens_are_none(client: Client) -> None:
    """Which of them is meant, something in front of us may see otherwise."""
    two = [("Authorization", "Bearer ada"), ("Authorization", "Bearer root")]
    for tokens in (two, two[::-1], two[:1] * 2):
        assert (await client.post("/api/v1/things", headers=tokens, json={"name": "x"})).status == 401
