"""Who may call, and what the document says that each of them is answered."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.identity.access.roles import PERMISSIONS, ROLES
from tests.server.routes.document import Operation
from tests.server.routes.town import Person, Town

UNAUTHORIZED = (401, "unauthorized")
FORBIDDEN = (403, "forbidden")
STEP_UP = (403, "step_up_required")


@dataclass
class Caller:
    """good: whether the token is taken. scopes: of an API key. person: whose account it is, when there is one."""

    name: str
    token: str = ""
    good: bool = False
    person: Person | None = None
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    proven: bool = True

    def refused(self, operation: Operation) -> tuple[int, str] | None:
        """Status and code that the document has for this caller at the door; None: he is let in."""
        if operation.open or (not self.token and not operation.needs_token):
            return None
        if not self.good:
            return UNAUTHORIZED
        if operation.permission is not None and operation.permission not in self.permissions:
            return FORBIDDEN
        if self.scopes is not None and not operation.scopes & self.scopes:
            return FORBIDDEN
        return STEP_UP if operation.step_up and not self.proven else None


class Outsiders:
    """Everybody but the owner of the things that are asked for. Nothing that they do may change these."""

    def __init__(self, town: Town, owner: Person, scopes: set[str]) -> None:
        self._town = town
        self._owner = owner
        self._scopes = scopes
        self._void: list[Caller] = []
        self._low: dict[str, Person] = {}
        self._stranger: Person | None = None

    async def start(self) -> None:
        """What is void has been good once."""
        town, owner = self._town, self._owner
        head, body, signature = owner.token.split(".")
        ended, disabled, leaving = await owner.signed_in_again(), await town.person(), await town.person()
        key = (await owner.call("POST", "/api/v1/keys", {"name": "gone", "scopes": [*self._scopes]}, status=201))["key"]
        gone = await owner.key("gone too", [*self._scopes])
        for item in (await owner.call("GET", "/api/v1/keys"))["items"]:
            if item["id"] == key["id"] or item["name"].startswith("gone too"):
                await owner.call("DELETE", f"/api/v1/keys/{item['id']}", status=204)
        await ended.call("DELETE", "/api/v1/auth/sessions/" + await _current(ended), status=204)
        await town.sql.execute("update users set disabled_at = now() where id = $1", uuid.UUID(disabled.id))
        await town.sql.execute("insert into account_changes values ($1, now())", uuid.UUID(disabled.id))
        await leaving.call("DELETE", "/api/v1/users/me", status=202)
        self._void = [
            Caller("nobody"),
            Caller("garbage", "not-a-token"),
            Caller("forged token", f"{head}.{body}.{signature[:-8]}AAAAAAAA"),
            Caller("refresh token", owner.refresh),
            Caller("revoked session", ended.token),
            Caller("disabled account", disabled.token),
            Caller("leaving account", leaving.token),
            Caller("deleted API key", gone),
        ]
        for caller in self._void[1:]:
            await town.refused(caller.token)

    async def of(self, operation: Operation) -> AsyncIterator[Caller]:
        for caller in self._void:
            yield caller
        yield Caller("stranger", (await self.stranger()).token, True, await self.stranger())
        if operation.scopes:
            stranger, scopes = await self.stranger(), sorted(operation.scopes)
            key = await stranger.key(" ".join(scopes), scopes)
            yield Caller("stranger's API key", key, True, stranger, scopes=frozenset(scopes), proven=False)
        if operation.security and operation.permission is None:
            others = sorted(self._scopes - operation.scopes)
            key = await self._owner.key(f"all but {sorted(operation.scopes)}", others)
            yield Caller("owner's API key without the scope", key, True, scopes=frozenset(others), proven=False)
        if operation.permission is not None:
            low = await self._too_low(operation.permission)
            yield Caller("too low a role", low.token, True, low)

    async def stranger(self) -> Person:
        """Signed in: what he did before may have ended his session, or his account."""
        if self._stranger is not None:
            async with self._town.http.get(
                self._town.url + "/api/v1/auth/sessions",
                headers={"Authorization": f"Bearer {self._stranger.token}"},
            ) as answer:
                if answer.status == 200:
                    return self._stranger
        self._stranger = await self._town.person("stranger")
        return self._stranger

    async def _too_low(self, permission: str) -> Person:
        """Somebody with every role that does not carry it."""
        if permission not in self._low:
            roles = [role for role in ROLES if permission not in PERMISSIONS[role]]
            self._low[permission] = await self._town.person("low", roles=[*roles])
        return self._low[permission]


class Insiders:
    """The owner, or whoever has the office: a new person for each call that changes something."""

    def __init__(self, town: Town, owner: Person) -> None:
        self._town = town
        self._owner = owner
        self._officer: Person | None = None

    async def of(self, operation: Operation) -> AsyncIterator[Caller]:
        office = frozenset() if operation.permission is None else PERMISSIONS["admin"]
        if operation.scopes:
            person, scopes = await self._person(operation), sorted(operation.scopes)
            key = await person.key(" ".join(scopes), scopes)
            yield Caller("own API key", key, True, person, office, frozenset(scopes), False)
        if operation.permission is not None:
            person, others = await self._person(operation), ["chat:write"]
            assert not operation.scopes & set(others)
            key = await person.key("another scope", others)
            yield Caller("own API key without the scope", key, True, person, office, frozenset(others), False)
        person = await self._person(operation)
        yield Caller("owner", person.token, True, person, office)
        if operation.security:
            person = await self._town.person("late", roles=["admin"] if operation.permission else None)
            yield Caller("long ago signed in", person.token, True, person, office, None, False)

    async def _person(self, operation: Operation) -> Person:
        if operation.permission is not None:
            self._officer = self._officer or await self._town.person("officer", roles=["admin"])
            return self._officer
        return self._owner if operation.safe else await self._town.person("owner")


async def _current(person: Person) -> str:
    sessions = (await person.call("GET", "/api/v1/auth/sessions"))["items"]
    return str(next(one["id"] for one in sessions if one["current"]))
