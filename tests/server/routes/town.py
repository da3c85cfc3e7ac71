"""People of a running server, and a real thing of each kind that an address or a body can name."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg

from tests.fakes.authenticator import Authenticator
from tests.support import eventually

PASSWORD = "correct horse battery"  # as in the document's examples, which then are right
PROVIDER = "github"


@dataclass
class Person:
    """Somebody who is signed in. keys: secrets of API keys, by what they were made for."""

    town: Town
    name: str
    id: str
    token: str
    refresh: str
    keys: dict[str, str] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        return await self.town.call(method, path, body, token=self.token, status=status)

    async def key(self, name: str, scopes: list[str]) -> str:
        """The secret of a key, made when it is first asked for."""
        if name not in self.keys:
            body = {"name": f"{name} of {self.name}"[:60], "scopes": scopes}
            self.keys[name] = (await self.call("POST", "/api/v1/keys", body, status=201))["secret"]
        return self.keys[name]

    async def signed_in_again(self) -> Person:
        """Another session of the same account."""
        return await self.town.sign_in(self.name)


class Town:
    """Makes people and their things over HTTP; SQL where only an operator's command or a mail would do it."""

    def __init__(self, http: aiohttp.ClientSession, url: str, origin: str, sql: asyncpg.Connection[Any]) -> None:
        self.http = http
        self.url = url
        self.origin = origin
        self.sql = sql
        self._numbers = itertools.count()

    async def call(self, method: str, path: str, body: Any = None, *, token: str = "", status: int = 200) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.request(method, self.url + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status} {text}"
            return await answer.json() if text else None

    async def person(self, kind: str = "person", *, roles: list[str] | None = None) -> Person:
        """Somebody new, whose address is verified."""
        name = f"{kind}{next(self._numbers)}"
        body = {"email": f"{name}@{kind}.example.org", "username": name, "password": PASSWORD}
        made = await self.call("POST", "/api/v1/auth/register", body, status=201)
        await self.sql.execute("update users set email_verified_at = now() where username = $1", name)
        if roles is None:
            return Person(self, name, made["user"]["id"], made["access_token"], made["refresh_token"])
        await self.sql.execute("update users set roles = $2 where username = $1", name, roles)
        return await self.sign_in(name)

    async def sign_in(self, name: str) -> Person:
        body = {"email": name, "password": PASSWORD}
        made = await self.call("POST", "/api/v1/auth/login", body)
        return Person(self, name, made["user"]["id"], made["access_token"], made["refresh_token"])

    async def long_ago(self, person: Person) -> None:
        """As if the person had shown a password yesterday."""
        await self.sql.execute(
            "update sessions set proven_at = now() - interval '1 day' where user_id = $1", uuid.UUID(person.id)
        )
        made = await self.call("POST", "/api/v1/auth/refresh", {"refresh_token": person.refresh})
        person.token, person.refresh = made["access_token"], made["refresh_token"]

    async def refused(self, token: str) -> None:
        """Until the server knows that the token is void."""

        async def void() -> bool:
            async with self.http.get(
                self.url + "/api/v1/live/mine", headers={"Authorization": f"Bearer {token}"}
            ) as answer:
                return answer.status == 401

        await eventually(void, within=20, every=0.1, what="the token is refused")


@dataclass(frozen=True)
class Kind:
    """What one path parameter names. private: nobody else is told that it is there. shared: it is nobody's own."""

    make: Callable[[Person], Awaitable[str]]
    private: bool = False
    shared: bool = False


async def _broadcast(person: Person) -> str:
    started = await person.call("POST", "/api/v1/live/start", {"title": f"By {person.name}"}, status=201)
    return str(started["id"])


async def _message(person: Person) -> str:
    """In the newest broadcast of the person."""
    (newest, *_) = (await person.call("GET", "/api/v1/live/mine"))["items"]
    body = {"text": f"Said by {person.name}"}
    return str((await person.call("POST", f"/api/v1/live/{newest['id']}/chat", body, status=201))["id"])


async def _session(person: Person) -> str:
    await person.signed_in_again()
    sessions = (await person.call("GET", "/api/v1/auth/sessions"))["items"]
    return str(next(one["id"] for one in sessions if not one["current"]))


async def _key(person: Person) -> str:
    body = {"name": f"kept by {person.name}", "scopes": ["chat:read"]}
    return str((await person.call("POST", "/api/v1/keys", body, status=201))["key"]["id"])


async def _passkey(person: Person) -> str:
    options = await person.call("POST", "/api/v1/auth/passkeys/options", {})
    made = Authenticator(person.town.origin).create(options["public_key"])
    body = {"challenge": options["challenge"], "passkey": made, "name": f"Device of {person.name}"}
    return str((await person.call("POST", "/api/v1/auth/passkeys", body, status=201))["passkey"]["id"])


async def _link(person: Person) -> str:
    """To an account elsewhere, as after signing in with it."""
    await person.town.sql.execute(
        "insert into signin_links (id, user_id, provider, authority, subject, name, created_at, last_used_at)"
        " values ($1, $2, $3, 'https://github.com', $4, $5, now(), now())",
        uuid.uuid4(),
        uuid.UUID(person.id),
        PROVIDER,
        person.id,
        f"Elsewhere {person.name}",
    )
    return PROVIDER


async def _account(person: Person) -> str:
    return person.id


async def _somebody(person: Person) -> str:
    """Whom the person may ban, or let moderate."""
    return (await person.town.person("somebody")).id


async def _filter(person: Person) -> str:
    (newest, *_) = (await person.call("GET", "/api/v1/live/mine"))["items"]
    body = {"pattern": f"unwantedby{person.name}", "action": "mask"}
    return str((await person.call("POST", f"/api/v1/live/{newest['id']}/chat/filters", body))["id"])


async def _emote(person: Person) -> str:
    (newest, *_) = (await person.call("GET", "/api/v1/live/mine"))["items"]
    await person.call("PUT", f"/api/v1/live/{newest['id']}/chat/emotes/hype", {"art": "🔥"})
    return "hype"


async def _reaction(person: Person) -> str:
    return "👍"


async def _username(person: Person) -> str:
    return person.name


async def _target(person: Person) -> str:
    """Where nobody is: names that end so are never registered (RFC 2606)."""
    body = {"name": f"Of {person.name}", "url": "rtmp://nowhere.invalid/live", "key": "a-key-of-theirs"}
    return str((await person.call("POST", "/api/v1/live/targets", body, status=201))["id"])


async def _video(person: Person) -> str:
    """One that everybody may see; to bring a file and to wait for the work on it is not what is asked here."""
    id = uuid.uuid4()
    await person.town.sql.execute(
        "insert into videos (id, owner_id, title, visibility, state, packaged, published_at)"
        " values ($1, $2, $3, 'public', 'ready', 1, now())",
        id,
        uuid.UUID(person.id),
        f"Of {person.name}",
    )
    return str(id)


async def _clip(person: Person) -> str:
    """A video that says of itself that it is a clip of something that is gone."""
    id = await _video(person)
    await person.town.sql.execute(
        """insert into clips (video_id, maker_id, kind, source_id, widest, start_seconds, end_seconds)
           values ($1, $2, 'video', $1, 'public', 0, 1)""",
        uuid.UUID(id),
        uuid.UUID(person.id),
    )
    return id


async def _upload(person: Person) -> str:
    headers = {"Authorization": f"Bearer {person.token}", "Tus-Resumable": "1.0.0", "Upload-Length": "1000"}
    async with person.town.http.post(person.town.url + "/api/v1/videos/tus", headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return answer.headers["Location"].rpartition("/")[2]


async def _captions(person: Person) -> str:
    """Of all videos of the person: which of them, and of his clips, is the newest is not said by ids made here."""
    body = {"text": f"00:00.000 --> 00:01.000\nSaid by {person.name}\n"}
    for video in (await person.call("GET", "/api/v1/videos/mine"))["items"]:
        await person.call("PUT", f"/api/v1/videos/{video['id']}/captions/en", body)
    return "en"


async def _watching(person: Person) -> str:
    """Who knows the name of a session may end it; this one is nobody's."""
    return "a-session-that-is-over"


KINDS = {
    "/api/v1/live/{id}": Kind(_broadcast),
    "/api/v1/live/{id}/whep/{session}": Kind(_watching, shared=True),
    "/api/v1/live/whip/{session}": Kind(_watching, shared=True),
    "/api/v1/live/{id}/chat/{message_id}": Kind(_message),
    "/api/v1/live/{id}/chat/pins/{message_id}": Kind(_message),
    "/api/v1/live/{id}/chat/{message_id}/reactions/{emoji}": Kind(_reaction, shared=True),
    "/api/v1/live/{id}/chat/bans/{user_id}": Kind(_somebody),
    "/api/v1/live/{id}/chat/moderators/{user_id}": Kind(_somebody),
    "/api/v1/live/{id}/chat/filters/{filter_id}": Kind(_filter),
    "/api/v1/live/{id}/chat/emotes/{name}": Kind(_emote),
    "/api/v1/live/targets/{id}": Kind(_target, private=True),
    "/api/v1/videos/{id}": Kind(_video),
    "/api/v1/clips/{id}": Kind(_clip),
    "/api/v1/videos/tus/{upload_id}": Kind(_upload, private=True),
    "/api/v1/videos/{id}/captions/{language}": Kind(_captions),
    "/api/v1/auth/sessions/{id}": Kind(_session, private=True),
    "/api/v1/keys/{id}": Kind(_key, private=True),
    "/api/v1/auth/passkeys/{id}": Kind(_passkey, private=True),
    "/api/v1/auth/oauth/{provider}": Kind(_link, shared=True),
    "/api/v1/admin/users/{id}": Kind(_account),
    "/api/v1/users/{username}": Kind(_username),
    "/api/v1/follows/{user_id}": Kind(_somebody, shared=True),
    "/api/v1/follows/followers/{user_id}": Kind(_somebody, shared=True),
}
"""By the path up to the parameter. A route with a new kind needs a line here: something real that others may not
touch."""

IN_BODIES = {
    "stream_id": "/api/v1/live/{id}",
    "reply_to": "/api/v1/live/{id}/chat/{message_id}",
    "user_id": "/api/v1/follows/{user_id}",
}
IN_QUERIES = {
    "user": ("/api/v1/admin/users/{id}", "{}"),
    "user_id": ("/api/v1/follows/{user_id}", "{}"),
    "actor": ("/api/v1/admin/users/{id}", "{}"),
    "channels": ("/api/v1/live/{id}", "live:{}"),
}
"""Ids in bodies, and in queries as they are written there, by the kind that they name."""


class Things:
    """Of one person, each made when it is first needed."""

    def __init__(self, owner: Person) -> None:
        self.owner = owner
        self._made: dict[str, str] = {}

    async def of(self, kind: str) -> str:
        assert kind in KINDS, f"{kind} names a kind of thing that is not known: tell town.KINDS how to make one"
        if kind not in self._made:
            self._made[kind] = await KINDS[kind].make(self.owner)
        return self._made[kind]
