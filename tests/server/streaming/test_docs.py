"""The running server does what its OpenAPI document says, for every address in it, also when it is asked nonsense."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.server.streaming.conftest import ServerProcess, User

METHODS = ("get", "post", "put", "patch", "delete")
NOBODY = "00000000-0000-7000-8000-000000000000"
GARBAGE_IN_PATH = [NOBODY, "not-an-id", "%00", "%2e%2e%2fetc", "9" * 400, "%F0%9F%92%A9", "'; drop table users --"]
GARBAGE_BODIES: list[bytes] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"7",
    b'"text"',
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
    b'{"stream_id": "not-an-id"}',
    json.dumps({"stream_id": NOBODY}).encode(),
    json.dumps({"refresh_token": "x" * 5000, "password": "p" * 5000, "email": "e" * 5000}).encode(),
]
GARBAGE_VALUES = ["", "-1", "0", "1e9", "9" * 400, "\x00", "'", "null", "é" * 300, "2026-13-45T99:00:00Z"]


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    about: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def needs_token(self) -> bool:
        security = self.about.get("security", [])
        return bool(security) and {} not in security

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def at(self, value: str) -> str:
        return re.sub(r"{\w+}", lambda _: value, self.path)

    @property
    def query(self) -> list[str]:
        return [given["name"] for given in self.about.get("parameters", []) if given["in"] == "query"]


@pytest.fixture
async def document(server: ServerProcess, http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get(server.url + "/openapi.json") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        given: dict[str, Any] = await answer.json()
        return given


@pytest.fixture
def operations(document: dict[str, Any]) -> list[Operation]:
    found = [
        Operation(method, path, about)
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if method in METHODS
    ]
    assert len(found) > 20
    return found


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
            body = await answer.read()
        what = f"{operation.name} as {path[:80]} {str(request)[:120]}: {answer.status} {body[:300]!r}"
        documented = operation.about["responses"]
        if answer.status >= 500:
            self.wrong.append(f"a fault: {what}")
        elif str(answer.status) not in documented:
            self.wrong.append(f"not in the document: {what}")
        elif answer.status >= 400 and answer.content_type != "application/problem+json":
            self.wrong.append(f"no problem document: {what}")
        return answer.status

    def judge(self) -> None:
        assert not self.wrong, f"{len(self.wrong)} of {self.asked}:\n" + "\n".join(self.wrong[:20])


@pytest.fixture
def asker(http: aiohttp.ClientSession, server: ServerProcess) -> Asker:
    return Asker(http, server.url)


def test_every_body_and_answer_has_an_example_that_fits(document: dict[str, Any]) -> None:
    seen = 0
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            content = [about.get("requestBody", {}), *about["responses"].values()]
            for media in (one.get("content", {}).get("application/json") for one in content):
                if media is None:
                    continue
                fits = jsonschema.Draft202012Validator({**media["schema"], "components": document["components"]})
                assert fits.is_valid(media["example"]), f"{method} {path}"
                seen += 1
    assert seen > len(document["paths"])


async def test_the_documents_are_valid_and_name_what_is_there(
    document: dict[str, Any], server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    OpenAPIV31SpecValidator(document).validate()
    for address in ("/api/v1/live/start", "/api/v1/auth/register", "/health/ready"):
        assert address in document["paths"], address
    ids = [
        about["operationId"]
        for path in document["paths"].values()
        for about in path.values()
        if isinstance(about, dict)
    ]
    assert len(set(ids)) == len(ids)


def test_a_body_with_a_field_that_is_none_of_its_own_is_refused(
    document: dict[str, Any], operations: list[Operation]
) -> None:
    """A misspelt field is told, not dropped, on every address alike."""
    bodies = [operation.about["requestBody"] for operation in operations if "requestBody" in operation.about]
    assert len(bodies) >= 6
    for body in bodies:
        (content,) = body["content"].values()
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][name].get("additionalProperties") is False, name


async def test_a_host_that_is_none_is_refused_and_documented(operations: list[Operation], asker: Asker) -> None:
    (show,) = [operation for operation in operations if operation.name == "GET /api/v1/live/{id}"]
    (listing,) = [operation for operation in operations if operation.name == "GET /api/v1/live"]
    for host in ("a@[::1", "evil.example/a", 'x"><script>'):
        for operation in (show, listing):
            assert await asker.ask(operation, operation.at(NOBODY), headers={"Host": host}) == 400
    asker.judge()


async def test_a_token_is_asked_for_exactly_where_the_document_says_so(
    operations: list[Operation], asker: Asker
) -> None:
    assert any(operation.needs_token for operation in operations)
    for operation in operations:
        for token in ("", "not-a-token", "a.b.c"):
            status = await asker.ask(operation, operation.at(NOBODY), token=token, json={})
            if token and not operation.needs_token:
                continue  # a bad token may be refused where none is needed
            if (status == 401) != operation.needs_token and not operation.path.endswith(("/login", "/refresh")):
                asker.wrong.append(f"{operation.name} with {token!r}: {status}, security {operation.needs_token}")
    asker.judge()


async def test_nonsense_is_the_clients_fault(
    operations: list[Operation], asker: Asker, streamer: User, server: ServerProcess
) -> None:
    for operation in operations:
        for value in GARBAGE_IN_PATH if operation.parameters else ():
            await asker.ask(operation, operation.at(value), token=streamer.token, json={})
        for path, value in itertools.product([operation.at(NOBODY)], GARBAGE_VALUES if operation.query else ()):
            for name in operation.query:
                await asker.ask(operation, path, token=streamer.token, params={name: value})
        if "requestBody" in operation.about:
            for body in GARBAGE_BODIES:
                await asker.ask(
                    operation,
                    operation.at(NOBODY),
                    token=streamer.token,
                    data=body,
                    headers={"Content-Type": "application/json"},
                )
            for kind in (
                "text/plain",
                "application/xml",
                "multipart/form-data",
                "application/json; charset=utf-16",
                "nonsense",
            ):
                await asker.ask(
                    operation, operation.at(NOBODY), token=streamer.token, data=b"{}", headers={"Content-Type": kind}
                )
    asker.judge()
    assert "Traceback" not in "\n".join(server.log)
    await streamer.call("GET", "/api/v1/auth/profile")  # the token was good to the end: not everything above was a 401


async def test_what_fits_the_schema_but_not_the_rules(
    operations: list[Operation], asker: Asker, streamer: User
) -> None:
    """Bodies of the right shape, made from the schemas: refused or done, and as documented."""
    started = await streamer.start()
    document = {operation.name: operation for operation in operations}
    for name, body in _shaped(started["id"]):
        operation = document[name]
        await asker.ask(operation, operation.at(started["id"]), token=streamer.token, json=body)
    asker.judge()


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
