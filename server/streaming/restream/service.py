"""What owners do with their targets: make, look, edit, delete, start and stop."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from media.egress.restream import PushState
from server.kit.clock import now
from server.kit.http.ifmatch import ANY, IfMatch
from server.kit.ids import uuid7
from server.kit.problems import Invalid
from server.kit.secrets import Secrets
from server.streaming.channels import store as channels
from server.streaming.restream import address, store
from server.streaming.restream.errors import NoSuchTarget, NotOnAir, TargetDisabled, TooManyTargets
from server.streaming.restream.models import (
    EditTargetBody,
    MakeTargetBody,
    Push,
    PushView,
    Target,
    Targets,
    TargetView,
)
from server.streaming.restream.pushes import PURPOSE
from storage.postgres import Database, after_commit

_KEY = re.compile(r"[\x21-\x7e]+")
HINT = 4
HINTED_FROM = 12
"""Of a shorter key the last characters are too much of it to be shown."""
GONE = "It was deleted, or the address is wrong."


class Running(Protocol):
    """The pushes of this process."""

    def changed(self) -> None: ...

    def of(self, target_id: UUID) -> Push | None: ...


class Restreams:
    """The facade of targets. most: of one account. reach: which addresses and ports may be pushed to."""

    def __init__(
        self, database: Database, secrets: Secrets, running: Running, reach: address.Reach, *, most: int
    ) -> None:
        self._database = database
        self._secrets = secrets
        self._running = running
        self._reach = reach
        self._most = most

    async def all(self, user_id: UUID) -> Targets:
        async with self._database.acquire() as conn:
            targets = await store.of_user(conn, user_id)
            pushes = await store.pushes(conn, [target.id for target in targets]) if targets else {}
        return Targets(items=[self._view(each, pushes.get(each.id)) for each in targets], most=self._most)

    async def show(self, id: UUID, user_id: UUID) -> TargetView:
        """Raises NoSuchTarget."""
        async with self._database.acquire() as conn:
            return await self._shown(conn, await self._own(conn, id, user_id))

    async def make(self, body: MakeTargetBody, user_id: UUID) -> TargetView:
        """Raises Invalid, TooManyTargets."""
        id = uuid7()
        key = _key(body.key)
        name, url = _name(body.name), self._url(body.url)
        async with self._database.transaction() as conn:
            channel = await channels.ensure(conn, user_id)
            await store.lock_channel(conn, channel.id)
            if len(await store.of_user(conn, user_id)) >= self._most:
                raise TooManyTargets(f"An account has at most {self._most} targets; delete one that is not needed.")
            target = Target(
                id=id,
                channel_id=channel.id,
                name=name,
                url=url,
                sealed_key=self._seal(id, key),
                key_hint=_hint(key),
                enabled=body.enabled,
                version=1,
                revision=1,
                stopped_for=None,
                created_at=now(),
            )
            await store.insert(conn, target)
            after_commit(self._running.changed)
        return self._view(target, None)

    async def edit(self, id: UUID, body: EditTargetBody, user_id: UUID, seen: IfMatch = ANY) -> TargetView:
        """Raises NoSuchTarget, Invalid, PreconditionFailed."""
        async with self._database.transaction() as conn:
            old = await self._own(conn, id, user_id)
            seen.check(old.version)
            new = replace(old, version=old.version + 1)
            if body.name is not None:
                new = replace(new, name=_name(body.name))
            if body.url is not None:
                new = replace(new, url=self._url(body.url))
            if body.key is not None:
                key = _key(body.key)
                new = replace(new, sealed_key=self._seal(id, key), key_hint=_hint(key))
            elif new.url != old.url:
                # a key is shown to nobody, so it is also not sent to wherever somebody in this session would like
                raise Invalid.at("$.key", "with another address the key has to be given again")
            if body.enabled is not None:
                new = replace(new, enabled=body.enabled)
            if new.url != old.url or body.key is not None or (new.enabled and not old.enabled):
                new = replace(new, revision=old.revision + 1, stopped_for=None)
            await store.update(conn, new)
            after_commit(self._running.changed)
            return await self._shown(conn, new)

    async def delete(self, id: UUID, user_id: UUID) -> None:
        """Raises NoSuchTarget."""
        async with self._database.transaction() as conn:
            if not await store.delete(conn, id, user_id):
                raise NoSuchTarget(GONE)
            after_commit(self._running.changed)

    async def begin(self, id: UUID, user_id: UUID) -> TargetView:
        """Push the broadcast that is on air to it: after a stop, after a refusal, and without waiting for the next
        attempt. Raises NoSuchTarget, TargetDisabled, NotOnAir."""
        async with self._database.transaction() as conn:
            target = await self._own(conn, id, user_id)
            if not target.enabled:
                raise TargetDisabled("Turn it on first; then all your broadcasts are pushed to it.")
            await self._on_air(conn, target)
            target = replace(target, revision=target.revision + 1, stopped_for=None)
            await store.update(conn, target)
            after_commit(self._running.changed)
            return await self._shown(conn, target)

    async def stop(self, id: UUID, user_id: UUID) -> TargetView:
        """Not this broadcast any more; the next one is pushed to it again. Raises NoSuchTarget, NotOnAir."""
        async with self._database.transaction() as conn:
            target = await self._own(conn, id, user_id)
            target = replace(target, stopped_for=await self._on_air(conn, target))
            await store.update(conn, target)
            after_commit(self._running.changed)
            return await self._shown(conn, target)

    async def _own(self, conn: Any, id: UUID, user_id: UUID) -> Target:
        target = await store.lock(conn, id, user_id)
        if target is None:
            raise NoSuchTarget(GONE)
        return target

    async def _on_air(self, conn: Any, target: Target) -> UUID:
        broadcast = await store.on_air(conn, target.channel_id)
        if broadcast is None:
            raise NotOnAir("No broadcast of yours is on air. Your next one is pushed to each target that is turned on.")
        return broadcast

    async def _shown(self, conn: Any, target: Target) -> TargetView:
        return self._view(target, (await store.pushes(conn, [target.id])).get(target.id))

    def _view(self, target: Target, written: Push | None) -> TargetView:
        push = self._running.of(target.id) or written
        return TargetView(
            id=target.id,
            name=target.name,
            url=target.url,
            key_hint=f"…{target.key_hint}",
            enabled=target.enabled,
            version=target.version,
            created_at=target.created_at,
            push=None if push is None else _push(push),
        )

    def _url(self, text: str) -> str:
        try:
            return address.parse(text, self._reach).url
        except address.BadAddress as error:
            raise Invalid.at("$.url", str(error)) from None

    def _seal(self, id: UUID, key: str) -> bytes:
        return self._secrets.seal(PURPOSE, key.encode(), id.bytes)


def _push(push: Push) -> PushView:
    state = PushState(push.state)
    over = push.over and state is not PushState.REFUSED
    return PushView(
        broadcast_id=push.broadcast_id,
        state=PushState.STOPPED if over else state,
        since=push.since,
        bitrate=0.0 if over else push.bitrate,
        sent_bytes=push.sent_bytes,
        dropped=push.dropped,
        reconnects=push.reconnects,
        error=push.error,
        note=push.note,
    )


def _name(text: str) -> str:
    name = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if not name:
        raise Invalid.at("$.name", "a name has 1 to 60 characters that can be seen")
    return name


def _key(text: str) -> str:
    key = text.strip()
    if _KEY.fullmatch(key) is None:
        raise Invalid.at("$.key", "a stream key has letters, digits and signs, without spaces: copy it again")
    return key


def _hint(key: str) -> str:
    return key[-HINT:] if len(key) >= HINTED_FROM else ""
