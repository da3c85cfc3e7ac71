"""How schemathesis signs in, and what else it is told: a module that its process loads (SCHEMATHESIS_HOOKS).

Each operation has an account of its own, so that one which ends sessions or deletes accounts ends nobody else's; what
names things in its path is called by their owner (who made them, when an answer said so), and what needs a permission
by an administrator. An account whose token is void by now is replaced.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
from functools import cache
from typing import Any

import aiohttp
import asyncpg
import schemathesis

from tests.server.routes.document import NOBODY
from tests.server.routes.town import Person, Town

PLACE = "TOWN"
"""The variable with the server, the address people type, the database, the role of all, and the owner's token."""


class Accounts:
    def __init__(self, url: str, origin: str, database: str, role: str, owner: str) -> None:
        self._place = (url, origin, database)
        self._roles = None if role == "user" else [role]
        self._owner = owner
        self._numbers = itertools.count()
        self._tokens: dict[str, str] = {}
        self._makers: dict[str, str] = {}

    def token(self, operation: Any) -> str:
        label = operation.label
        if label not in self._tokens:
            office = "x-permission" in operation.definition.raw
            owned = bool(operation.path_parameters) and self._owner and not office
            self._tokens[label] = self._owner if owned else asyncio.run(self._make(office)).token
        return self._tokens[label]

    def made(self, id: str, authorization: str) -> None:
        self._makers[id] = authorization

    def maker(self, case: Any) -> str | None:
        """The Authorization by which what the path names was made, in this run."""
        named = (case.path_parameters or {}).values()
        return next((self._makers[each] for each in named if isinstance(each, str) and each in self._makers), None)

    def void(self, operation: Any, token: str) -> None:
        if token == f"Bearer {self._tokens.get(operation.label)}":
            del self._tokens[operation.label]

    async def _make(self, office: bool) -> Person:
        url, origin, database = self._place
        sql = await asyncpg.connect(database)
        try:
            async with aiohttp.ClientSession() as http:
                roles = ["admin"] if office else self._roles
                return await Town(http, url, origin, sql).person(f"x{next(self._numbers)}x", roles=roles)
        finally:
            await sql.close()


# What WebRTC and tus speak: any text is tried as SDP, any bytes as a piece of a file.
schemathesis.serializer.alias(["application/sdp", "application/trickle-ice-sdpfrag"], "text/plain")
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")

_accounts = Accounts(*os.environ[PLACE].split(" "))


@schemathesis.auth(refresh_interval=None)
class SignedIn:
    def get(self, case: schemathesis.Case, context: object) -> str:
        return _accounts.token(case.operation)

    def set(self, case: schemathesis.Case, data: str, context: object) -> None:
        if case.operation.definition.raw["security"]:
            case.headers = case.headers or {}
            case.headers["Authorization"] = _accounts.maker(case) or f"Bearer {data}"


@schemathesis.hook
def after_call(context: object, case: schemathesis.Case, response: Any) -> None:
    authorization = response.request.headers.get("Authorization", "")
    if response.status_code == 401:
        _accounts.void(case.operation, authorization)
    elif response.status_code == 201 and authorization:
        body = response.json() if "json" in response.headers.get("content-type", [""])[0] else {}
        if isinstance(body.get("id"), str):
            _accounts.made(body["id"], authorization)


@schemathesis.hook
def before_call(context: object, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """A word that an address of its own has (`/live/whip`) names nothing: whoever sends it there calls another
    operation. Links that schemathesis infers from answers do so."""
    taken = _taken(case.operation.path, tuple(case.operation.schema.raw_schema["paths"]))
    for name, words in taken.items():
        if (case.path_parameters or {}).get(name) in words:
            case.path_parameters[name] = NOBODY


@cache
def _taken(path: str, paths: tuple[str, ...]) -> dict[str, set[str]]:
    """The words that stand in the place of each parameter of `path` in other addresses."""
    taken: dict[str, set[str]] = {}
    for found in re.finditer(r"{(\w+)}", path):
        before = path[: found.start()]
        after = {one[len(before) :].partition("/")[0] for one in paths if one.startswith(before)}
        taken[found[1]] = {word for word in after if not word.startswith("{")}
    return taken
