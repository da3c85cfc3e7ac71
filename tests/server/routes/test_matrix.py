"""Every route of the document for every kind of caller: each gets what the document declares, and nobody touches or
learns what is another's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.server.routes.callers import Caller, Insiders, Outsiders
from tests.server.routes.document import NOBODY, PARAMETER, Operation, operations_of
from tests.server.routes.town import IN_BODIES, IN_QUERIES, KINDS, Person, Things, Town
from tests.support import eventually

PUBLIC_ACTS = {
    "POST /api/v1/live/{id}/join",  # whoever knows a broadcast may watch it
    "POST /api/v1/live/{id}/whep",
    "POST /api/v1/live/{id}/chat",  # and, signed in, write beside it
    "PUT /api/v1/live/{id}/chat/{message_id}/reactions/{emoji}",  # and react to what others wrote
    "DELETE /api/v1/live/{id}/chat/{message_id}/reactions/{emoji}",
    "POST /api/v1/videos/{id}/like",  # whoever may watch a video may like it
    "DELETE /api/v1/videos/{id}/like",
    "POST /api/v1/videos/{id}/clips",  # and make clips of it, where its owner lets them
    "POST /api/v1/live/{id}/clips",
    "POST /api/v1/videos/{id}/view",
}
"""What changes another's thing, and is open to everybody on purpose."""
OFF_AIR = {
    "POST /api/v1/live/targets/{id}/start": "not_on_air",
    "POST /api/v1/live/targets/{id}/stop": "not_on_air",
    "POST /api/v1/videos/{id}/retry": "not_failed",  # test_processing does it
    "POST /api/v1/videos/{id}/key": "not_protected",  # test_protection does it
    "GET /api/v1/live/{id}/clips/range": "nothing_to_clip",  # the tests of clips do it
    "POST /api/v1/live/{id}/clips": "nothing_to_clip",
    "POST /api/v1/videos/{id}/clips": "nothing_to_clip",
    "POST /api/v1/videos/{id}/trim": "bad_stretch",  # of a video that has no media
    "PUT /api/v1/videos/{id}/file": "unsupported_media_type",  # a form is no JSON
    "POST /api/v1/live/{id}/video": "nothing_recorded",
    "POST /api/v1/live/{id}/whep": "unsupported_media_type",  # an offer is no JSON
    "PATCH /api/v1/live/{id}/whep/{session}": "no_such_session",
    "DELETE /api/v1/live/{id}/whep/{session}": "no_such_session",
    "PATCH /api/v1/live/whip/{session}": "no_such_session",
    "DELETE /api/v1/live/whip/{session}": "no_such_session",
}
"""What is answered to those who may, where it takes a publisher or a viewer who is connected, or a video that has
failed or has media: none here. That they do their work is for test_restream, test_whep, test_whip, test_processing and
the tests that are named here."""
TUS = "/api/v1/videos/tus"
AT_THE_DOOR = ("This needs the permission", "This API key has not the scope", "API keys are not taken here")
"""A feature may say `forbidden` as well, of what is another's."""
REFUSALS = {"unauthorized", "forbidden", "step_up_required", "not_yours", "not_found"}
PASSING = {"last_used_at", "viewers", "now", "offset", "head", "reactions"}
"""Members of answers that change by themselves."""

Answer = tuple[int, dict[str, Any], str]


class Matrix:
    """Asks, judges and counts."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self.wrong: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.callers: set[str] = set()

    async def ask(self, operation: Operation, caller: Caller, things: Things, last: str = "") -> Answer:
        """last: instead of the last thing of the path."""
        path, request = await self._addressed(operation, things, last)
        if operation.path.startswith(TUS):
            # without them an upload is not even looked for
            request["headers"]["Tus-Resumable"] = "1.0.0"
            if operation.in_path:
                request["headers"] |= {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
                request["headers"]["Content-Type"] = "application/offset+octet-stream"
        if caller.token:
            request["headers"]["Authorization"] = f"Bearer {caller.token}"
        async with self._town.http.request(
            operation.method, self._town.url + path, allow_redirects=False, **request
        ) as answer:
            endless = answer.content_type == "text/event-stream"
            data = await answer.content.readany() if endless else await answer.read()
            text, status = data.decode(errors="replace"), answer.status
            kind, asked = answer.content_type, answer.headers.get("WWW-Authenticate")
        self.statuses[status] += 1
        self.callers.add(caller.name)
        body = json.loads(text) if kind.endswith("json") and text else {}
        self.must(status < 500, operation, caller, status, text)
        self.must(str(status) in operation.about["responses"], operation, caller, f"undocumented {status}", text)
        self.must(status < 400 or kind == "application/problem+json", operation, caller, f"{status} as {kind}", text)
        self.must(status != 401 or asked == "Bearer", operation, caller, "401 without WWW-Authenticate", text)
        refused = caller.refused(operation)
        if refused is not None:
            code = refused[1] if operation.method == "head" else body.get("code")  # an answer to HEAD has no body
            self.must((status, code) == refused, operation, caller, f"{status}, not {refused}", text)
        else:
            door = body.get("code") in {"unauthorized", "step_up_required"} or any(word in text for word in AT_THE_DOOR)
            self.must(not door, operation, caller, f"refused: {status}", text)
        return status, body, text

    def must(self, right: bool, operation: Operation, caller: Caller, what: object, text: str) -> None:
        if not right:
            self.wrong.append(f"{operation.name} by {caller.name}: {what}: {text[:300]}")

    async def _addressed(self, operation: Operation, things: Things, last: str) -> tuple[str, dict[str, Any]]:
        kinds = operation.in_path
        values = {name: await things.of(kind) for name, kind in kinds.items()}
        if last:
            values[[*kinds][-1]] = last
        request = operation.request()
        for name in operation.in_body:
            assert name in IN_BODIES, f"{operation.name}: {name} is a kind of id that is not known: town.IN_BODIES"
            request["json"][name] = await things.of(IN_BODIES[name])
        for one in operation.parameters("query"):
            assert one["name"] in IN_QUERIES or "uuid" not in str(one["schema"]), f"{operation.name}: town.IN_QUERIES"
            if one["name"] in IN_QUERIES:
                kind, written = IN_QUERIES[one["name"]]
                request["params"][one["name"]] = written.format(await things.of(kind))
        return PARAMETER.sub(lambda found: values[found[1]], operation.path), request

    def judge(self) -> None:
        assert not self.wrong, f"{len(self.wrong)} of {self.statuses.total()}:\n" + "\n".join(self.wrong[:40])


@pytest.mark.timeout(300)  # some two thousand requests, and passwords are slow on purpose
async def test_every_route_for_every_caller(town: Town, record_property: Callable[[str, object], None]) -> None:
    document = await town.call("GET", "/openapi.json")
    operations, matrix = operations_of(document), Matrix(town)
    assert len(operations) > 80
    owner = await town.person("owner")
    things = Things(owner)
    scopes = set(document["components"]["securitySchemes"]["apiKey"]["x-scopes"])
    outsiders = Outsiders(town, owner, scopes)
    await outsiders.start()
    for kind in KINDS:
        await things.of(kind)
    await _archive(owner)
    # keys are made when they are first used: now, for what the owner sees to stay as it is
    for operation in operations:
        async for _ in outsiders.of(operation):
            pass

    secrets = await _secrets(things)
    before = await _seen(owner, things, operations)
    for operation in operations:
        async for caller in outsiders.of(operation):
            status, body, text = await matrix.ask(operation, caller, things)
            for secret in secrets:
                matrix.must(secret not in text, operation, caller, f"is told {secret!r}", text)
            if caller.refused(operation) is None and "stranger" in caller.name:
                await _keep_out(matrix, operation, caller, things, status, body)
    matrix.judge()
    after = await _seen(owner, things, operations)
    assert after == before, "what outsiders did has changed what the owner sees"
    assert len(before) > 12

    done = set()
    insiders = Insiders(town, owner)
    for operation in operations:
        async for caller in insiders.of(operation):
            assert caller.person is not None
            own = things if caller.person is owner else Things(caller.person)
            if operation.permission is not None:
                own = Things(await town.person("subject"))  # officers work on others
            for kind in operation.in_path.values():
                await own.of(kind)
            if not caller.proven and caller.scopes is None:
                await town.long_ago(caller.person)
                caller.token = caller.person.token
            status, body, text = await matrix.ask(operation, caller, own)
            if caller.refused(operation) is None:
                if operation.name in OFF_AIR:
                    matrix.must(body.get("code") == OFF_AIR[operation.name], operation, caller, status, text)
                elif operation.in_path and not operation.open:
                    matrix.must(status in operation.success, operation, caller, f"{status} for his own", text)
                elif not operation.open:
                    matrix.must(body.get("code") not in REFUSALS, operation, caller, status, text)
                if status in operation.success:
                    done.add(operation.name)

    figures = ", ".join(f"{status}: {count}" for status, count in sorted(matrix.statuses.items()))
    record_property(
        "figures",
        f"routes and callers: {len(operations)} routes by {len(matrix.callers)} callers = {matrix.statuses.total()}"
        f" asked ({figures}); {len(done)} routes did their work for those who may",
    )
    matrix.judge()
    assert len(done) > len(operations) * 0.6


async def _keep_out(
    matrix: Matrix, operation: Operation, caller: Caller, things: Things, status: int, body: dict[str, Any]
) -> None:
    """A stranger who got through the door changes nothing of another's, and is not told what is private."""
    kinds = [KINDS[kind] for kind in operation.in_path.values()]
    kinds += [KINDS[IN_BODIES[name]] for name in operation.in_body]
    touched = [kind for kind in kinds if not kind.shared]
    if touched and not operation.safe and operation.name not in PUBLIC_ACTS:
        matrix.must(status in (403, 404), operation, caller, f"{status} for another's", str(body))
    if any(kind.private for kind in touched):
        nothing, none, _ = await matrix.ask(operation, caller, things, last=NOBODY)
        same = [status, body.get("code"), body.get("detail")] == [nothing, none.get("code"), none.get("detail")]
        matrix.must(status == 404 and same, operation, caller, f"tells that it is there: {none}", str(body))


async def _archive(owner: Person) -> None:
    await owner.call("POST", "/api/v1/users/me/export", {}, status=202)

    async def ready() -> bool:
        return bool((await owner.call("GET", "/api/v1/users/me/export"))["state"] == "ready")

    await eventually(ready, within=60, every=0.1)


async def _secrets(things: Things) -> list[str]:
    """Words that stand in what is private, and nowhere else."""
    owner = things.owner
    ids = [await things.of(path) for path, kind in KINDS.items() if kind.private]
    return [*ids, "@owner.example.org", f"kept by {owner.name}", f"Device of {owner.name}", f"Elsewhere {owner.name}"]


async def _seen(owner: Person, things: Things, operations: list[Operation]) -> dict[str, Any]:
    """All that the owner can read in JSON, without what others may add to it."""
    seen = {}
    for operation in operations:
        if not operation.safe or operation.open or operation.permission or "200" not in operation.about["responses"]:
            continue
        if "application/json" not in operation.about["responses"]["200"].get("content", {}):
            continue
        if operation.name in OFF_AIR:
            continue
        if operation.parameters("query", required=True):
            continue  # a search: what it finds is read elsewhere
        values = {name: await things.of(kind) for name, kind in operation.in_path.items()}
        answer = await owner.call("GET", PARAMETER.sub(lambda found, v=values: v[found[1]], operation.path))
        seen[operation.name] = _own(answer, None if operation.needs_token else owner)
    return seen


def _own(answer: Any, owner: Person | None) -> Any:
    """owner: keep only the items of lists that speak of him."""
    if isinstance(answer, dict):
        return {name: _own(value, owner) for name, value in answer.items() if name not in PASSING}
    if isinstance(answer, list):
        return [_own(one, None) for one in answer if owner is None or owner.name in str(one)]
    return answer
