"""The document itself, and nonsense that no schema generates: broken bodies, types, hosts, ids."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import aiohttp
import jsonschema
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.server.routes.document import NOBODY, Operation, operations_of
from tests.server.routes.town import Town
from tests.server.streaming.conftest import ServerProcess

GARBAGE_IN_PATH = [NOBODY, "not-an-id", "%00", "%2e%2e%2fetc", "9" * 400, "%F0%9F%92%A9", "'; drop table users --"]
GARBAGE_IN_QUERY = ["\x00", "1e9", "é" * 300, "2026-13-45T99:00:00Z", "9999-12-31T23:59:59-23:59"]
GARBAGE_BODIES: list[bytes] = [
    b"",
    b"[]",
    b"7",
    b"{",
    b"\xff\xfe\x00",
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    *(
        b'{"title": "%s", "text": "%s", "stream_id": "%s", "username": "%s", "email": "%s", "password": "%s"}'
        % ((bad,) * 6)
        for bad in (rb"\u0000", rb"\ud800", rb"\u0000@\u0000.org")
    ),
    json.dumps({"title": 10**400, "limit": -1}).encode(),
    b'{"title": 1e999}',
]
GARBAGE_TYPES = ["text/plain", "multipart/form-data", "application/json; charset=utf-16", "nonsense"]


class Asker:
    """Asks and judges: no answer is a fault, every status is in the document, errors are problem documents."""

    def __init__(self, http: aiohttp.ClientSession, base: str) -> None:
        self._http = http
        self._base = base
        self.wrong: list[str] = []
        self.asked = 0

    async def ask(self, operation: Operation, path: str, *, token: str = "", **request: Any) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= request.pop("headers", {})
        self.asked += 1
        async with self._http.request(
            operation.method, self._base + path, headers=headers, allow_redirects=False, **request
        ) as answer:
            endless = answer.content_type == "text/event-stream"
            body = await answer.content.readany() if endless else await answer.read()
        what = f"{operation.name} as {path[:80]} {str(request)[:120]}: {answer.status} {body[:300]!r}"
        if answer.status >= 500:
            self.wrong.append(f"a fault: {what}")
        elif str(answer.status) not in operation.about["responses"]:
            self.wrong.append(f"not in the document: {what}")
        elif answer.status >= 400 and answer.content_type != "application/problem+json":
            self.wrong.append(f"no problem document: {what}")
        return answer.status

    def judge(self) -> None:
        assert not self.wrong, f"{len(self.wrong)} of {self.asked}:\n" + "\n".join(self.wrong[:20])


async def test_the_document(town: Town) -> None:
    document = await town.call("GET", "/openapi.json")
    OpenAPIV31SpecValidator(document).validate()
    for address in ("/api/v1/live/start", "/api/v1/auth/register", "/health/ready"):
        assert address in document["paths"], address
    operations = operations_of(document)
    ids = [operation.about["operationId"] for operation in operations]
    assert len(set(ids)) == len(ids) > 80
    _examples_fit(document, operations)
    _misspelt_fields_are_told(document, operations)


def _examples_fit(document: dict[str, Any], operations: list[Operation]) -> None:
    """Every body and every answer has one."""
    seen = 0
    for operation in operations:
        content = [operation.about.get("requestBody", {}), *operation.about["responses"].values()]
        for media in (one.get("content", {}).get("application/json") for one in content):
            if media is None:
                continue
            fits = jsonschema.Draft202012Validator({**media["schema"], "components": document["components"]})
            assert fits.is_valid(media["example"]), operation.name
            seen += 1
    assert seen > len(document["paths"])


def _misspelt_fields_are_told(document: dict[str, Any], operations: list[Operation]) -> None:
    """Not dropped, on every address alike."""
    bodies = 0
    for operation in operations:
        content = operation.about.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name].get("additionalProperties") is False, name
            bodies += 1
    assert bodies > 20


async def test_nonsense_is_the_clients_fault(town: Town, server: ServerProcess, http: aiohttp.ClientSession) -> None:
    operations = operations_of(await town.call("GET", "/openapi.json"))
    asker = Asker(http, server.url)
    streamer = await town.person("streamer")
    await _hosts(operations, asker)
    started = await streamer.call("POST", "/api/v1/live/start", {"title": "A test"}, status=201)
    await _rules(operations, asker, streamer.token, started)
    for operation in operations:
        token = streamer.token
        for value in GARBAGE_IN_PATH if operation.in_path else ():
            await asker.ask(operation, operation.at(value), token=token, json={})
        for query in operation.parameters("query"):
            for value in GARBAGE_IN_QUERY:
                await asker.ask(operation, operation.at(NOBODY), token=token, params={query["name"]: value})
        if "requestBody" in operation.about:
            requests = [(body, "application/json") for body in GARBAGE_BODIES]
            requests += [(b"{}", kind) for kind in GARBAGE_TYPES]
            for data, kind in requests:
                await asker.ask(operation, operation.at(NOBODY), token=token, data=data, headers={"Content-Type": kind})
    asker.judge()
    assert "Traceback" not in "\n".join(server.log)
    await streamer.call("GET", "/api/v1/auth/profile")  # the token was good to the end


async def _hosts(operations: list[Operation], asker: Asker) -> None:
    for host in ("a@[::1", "evil.example/a", 'x"><script>'):
        for name in ("GET /api/v1/live/{id}", "GET /api/v1/live"):
            (operation,) = [operation for operation in operations if operation.name == name]
            assert await asker.ask(operation, operation.at(NOBODY), headers={"Host": host}) == 400


async def _rules(operations: list[Operation], asker: Asker, token: str, started: dict[str, Any]) -> None:
    """Bodies of the right shape that rules may refuse: refused or done, and as documented."""
    named = {operation.name: operation for operation in operations}
    for name, body in _shaped(started["id"]):
        await asker.ask(named[name], named[name].at(started["id"]), token=token, json=body)


def _shaped(id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for title in ("", " ", "x" * 140, "\u202e", "a\x00b", "😀" * 70):
        yield "POST /api/v1/live/start", {"title": title, "description": title * 10}
        yield "PUT /api/v1/live/{id}", {"title": title}
    yield "POST /api/v1/live/start", {"title": "T", "visibility": "private"}
    for text in ("", " ", "\n", "\x00", "x" * 501, "\u202e", "a\x00b"):
        yield "POST /api/v1/live/{id}/chat", {"text": text, "nonce": text or "n"}
    for moment in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-01-01T00:00:00+23:59"):
        yield "POST /api/v1/live/{id}/chat", {"text": "hi", "media_time": moment}
    yield "POST /api/v1/live/end", {"stream_id": id}
    yield "POST /api/v1/live/end", {"stream_id": id}
    yield "POST /api/v1/live/end", {"stream_id": str(uuid.uuid4())}
    for password in ("short", "\x00" * 12, "😀" * 400):
        register = {"email": "a@example.org", "username": "somebody", "password": password}
        yield "POST /api/v1/auth/register", register
        yield "POST /api/v1/auth/login", {"email": "a\x00b", "password": password}
    yield "POST /api/v1/auth/refresh", {"refresh_token": "\x00"}
    yield "DELETE /api/v1/live/{id}", {}
