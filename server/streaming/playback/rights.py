"""What is known here of who may watch what: asked for every playlist and segment, answered from memory.

What is played, and who follows whom among those who play for followers, is read when it is asked for first and read
again twice a second, all of it in one question, for as long as somebody asks. So a right that is lost is lost on every
node within a second or so, whoever took it and however he was told or not told; no request waits for the database but
the first. While the database is away nobody can take a right, and what is known stays good.

Sessions that end are told by who knows (`ended`). Owns what was read, from `start` to `close`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from server.kit.auth import Caller
from server.streaming.playback.errors import NotForYou
from server.streaming.playback.grants import Grant, Grants
from server.streaming.playback.subjects import Kind, Source, Subject
from server.streaming.playback.visibility import Visibility
from server.streaming.visibility import PUBLIC_GRANT
from storage.postgres.database import AWAY

log = logging.getLogger(__name__)

REFRESH_SECONDS = 0.5
UNUSED_SECONDS = 12.0
"""What nobody asked about for this long is read anew when somebody does: longer than a player's pauses."""
ABSENT_SECONDS = 1.0
KNOWN_MOST = 20_000
AT_ONCE = 1000
"""Asked for in one statement."""

K = TypeVar("K")
V = TypeVar("V")
Pair = tuple[UUID, UUID]
Key = tuple[Kind, str]
Narrowed = Callable[[Subject], None]


class Follows(Protocol):
    async def following(self, pairs: Collection[Pair]) -> Collection[Pair]:
        """Of these (viewer, owner), those where the viewer follows the owner."""
        ...


class Bonds(Protocol):
    """Bonds that are kept elsewhere and not asked for often."""

    async def subscribes(self, viewer_id: UUID, owner_id: UUID) -> bool | None: ...
    async def bought(self, viewer_id: UUID, id: UUID) -> bool | None: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    words: str


NO_GRANT = Refusal(404, "There is no such grant.")
NOTHING = Refusal(404, "There is no such file.")
NEEDED = Refusal(403, "This needs a grant: ask the API for its address.")
OVER = Refusal(403, "The grant is over: ask the API for a new address.")
LOST = Refusal(403, "This may not be watched any more with this grant.")


class Rights:
    """The facade of who may watch.

    sources: read subjects by kind. held: what this process knows of one without the database, while that is away.
    """

    def __init__(
        self,
        grants: Grants,
        sources: Mapping[Kind, Source],
        follows: Follows,
        bonds: Bonds,
        held: Callable[[Kind, str], Subject | None],
        *,
        most: int = KNOWN_MOST,
    ) -> None:
        self._grants = grants
        self._held = held
        self._sources = dict(sources)
        self._follows = follows
        self._subjects: Kept[Key, Subject] = Kept(self._read_subjects, most)
        self._pairs: Kept[Pair, bool] = Kept(self._read_pairs, most)
        self._ended: dict[UUID, float] = {}
        self._narrowed: list[Narrowed] = []
        self._unfollowed: list[Callable[[UUID, UUID], None]] = []
        self.visibility = Visibility(_KnownBonds(self._pairs, bonds))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        failed = False
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self._refresh()
                failed = False
            except AWAY as error:
                if not failed:
                    log.warning("who may watch what cannot be read again: %r", error)
                failed = True
            except Exception:
                log.exception("who may watch what could not be read again")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._subjects.close()
        await self._pairs.close()

    def describe(self) -> dict[str, object]:
        return {"subjects": len(self._subjects), "pairs": len(self._pairs), "ended": len(self._ended)}

    # what is told

    def ended(self, ids: Collection[UUID]) -> None:
        """What was granted to these sessions, keys and accounts up to now is void."""
        now = time.time()
        self._ended.update(dict.fromkeys(ids, now))

    async def changed(self, kind: Kind, id: UUID) -> None:
        """It was edited or deleted through this process: read it anew now and not in a moment."""
        key = (kind, str(id))
        before = self._subjects.known(key)
        self._subjects.doubt(key)
        try:
            after = await self._subjects.get(key)
        except AWAY:
            return
        if before is not None and after != before:
            self._compare(before, after)

    def doubt(self, kind: Kind, id: UUID) -> None:
        """Something else of it has changed than who may watch: it is read anew when somebody asks next."""
        self._subjects.doubt((kind, str(id)))

    def follow_changed(self, viewer_id: UUID, owner_id: UUID, follows: bool) -> None:
        self._pairs.doubt((viewer_id, owner_id))
        if not follows:
            for listener in self._unfollowed:
                listener(viewer_id, owner_id)

    def add_source(self, kind: Kind, source: Source) -> None:
        self._sources[kind] = source

    def on_unfollowed(self, listener: Callable[[UUID, UUID], None]) -> None:
        """Told when somebody (first) who watches here follows somebody (second) no more. It must not raise."""
        self._unfollowed.append(listener)

    def on_narrowed(self, listener: Narrowed) -> None:
        """Told when fewer people than before may watch something that is played here. It must not raise."""
        self._narrowed.append(listener)

    # what is asked

    async def subject(self, kind: Kind, id: str) -> Subject | None:
        """None: there is none, or `id` is not spelt as ids are."""
        key = (kind, id)
        known = self._subjects.known(key)
        if known is not None:
            return known
        try:
            if str(UUID(id)) != id:
                return None  # one spelling: the live side and the files know no other
        except ValueError:
            return None
        try:
            return await self._subjects.get(key)
        except AWAY:
            held = self._held(kind, id)
            if held is None:
                raise
            return held

    async def may_watch(self, kind: Kind, id: UUID, viewer: Caller | None) -> Subject:
        """What he may watch. Raises NotForYou, FollowersOnly, SubscribersOnly, NotBought."""
        subject = await self.subject(kind, str(id))
        if subject is None:
            raise NotForYou("It was deleted, or the address is wrong.")
        await self.visibility.may_watch(subject, viewer)
        return subject

    async def may_still(self, kind: Kind, id: UUID, viewer: Caller | None) -> bool:
        """For what goes on for long: asked every second."""
        subject = await self.subject(kind, str(id))
        return (
            subject is not None
            and await self.visibility.refusal(subject, viewer.user_id if viewer is not None else None) is None
        )

    def issue(self, kind: Kind, id: UUID, viewer: Caller) -> str:
        """A grant for somebody who may watch."""
        after = max(self._ended.get(viewer.session_id, 0.0), self._ended.get(viewer.user_id, 0.0))
        return self._grants.issue(kind, id, viewer.user_id, viewer.session_id, after=after)

    def renew_in(self, grant: str) -> float | None:
        """Seconds after which to ask for a new one; None: it stays good."""
        return None if grant == PUBLIC_GRANT else self._grants.seconds / 2

    async def check(self, kind: Kind, id: str, text: str) -> Subject | Refusal:
        """For each request for media: what it is about, when the grant in its path opens that."""
        subject = self._subjects.known((kind, id)) or await self.subject(kind, id)
        if text == PUBLIC_GRANT:
            if subject is None:
                return NOTHING
            if subject.open:
                return subject
            return NEEDED if subject.published and subject.visibility != "private" else NOTHING
        grant = self._grants.read(kind, id, text)
        if grant is None:
            return NO_GRANT
        if subject is None:
            return NOTHING
        if subject.open:
            return subject  # has been opened to everybody since
        if not self._grants.fresh(grant):
            return OVER
        if self._has_ended(grant) or await self.visibility.refusal(subject, grant.viewer) is not None:
            return LOST
        return subject

    def viewer_of(self, kind: Kind, id: str, text: str) -> UUID | None:
        """The account that a grant was given to."""
        grant = None if text == PUBLIC_GRANT else self._grants.read(kind, id, text)
        return None if grant is None else grant.viewer

    def _has_ended(self, grant: Grant) -> bool:
        if not self._ended:
            return False
        at = max(self._ended.get(grant.session, 0.0), self._ended.get(grant.viewer, 0.0))
        return at >= grant.issued - self._grants.skew

    # reading

    async def _refresh(self) -> None:
        oldest = time.time() - self._grants.seconds - 2 * self._grants.skew
        self._ended = {id: at for id, at in self._ended.items() if at >= oldest}
        for _, before, after in await self._subjects.refresh():
            self._compare(before, after)
        for pair, _, follows in await self._pairs.refresh():
            if not follows:
                for listener in self._unfollowed:
                    listener(*pair)

    def _compare(self, before: Subject, after: Subject | None) -> None:
        if after is None:
            subject = replace(before, visibility="private", published=False)
        elif (after.visibility, after.published) != (before.visibility, before.published) and not after.open:
            subject = after
        else:
            return
        for listener in self._narrowed:
            try:
                listener(subject)
            except Exception:
                log.exception("a listener for rights failed")

    async def _read_subjects(self, keys: Collection[Key]) -> Mapping[Key, Subject]:
        found: dict[Key, Subject] = {}
        for kind, source in self._sources.items():
            ids = [UUID(id) for of, id in keys if of is kind]
            if ids:
                found.update({(kind, str(id)): subject for id, subject in (await source(ids)).items()})
        return found

    async def _read_pairs(self, pairs: Collection[Pair]) -> Mapping[Pair, bool]:
        following = set(await self._follows.following(pairs))
        return {pair: pair in following for pair in pairs}


class Kept(Generic[K, V]):
    """What was read and is in use. A reading is one for all who wait for the same."""

    def __init__(self, read: Callable[[Collection[K]], Awaitable[Mapping[K, V]]], most: int) -> None:
        self._read = read
        self._most = most
        self._found: OrderedDict[K, list[float | V]] = OrderedDict()  # [used, value]
        self._absent: OrderedDict[K, float] = OrderedDict()
        self._reading: dict[K, asyncio.Task[V | None]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def known(self, key: K) -> V | None:
        """Without waiting."""
        entry = self._found.get(key)
        if entry is None:
            return None
        entry[0] = time.monotonic()
        self._found.move_to_end(key)
        return entry[1]  # type: ignore[return-value]

    async def get(self, key: K) -> V | None:
        """Raises what the reading raises; that is not kept."""
        known = self.known(key)
        if known is not None:
            return known
        if self._absent.get(key, 0.0) > time.monotonic():
            return None
        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.get_running_loop().create_task(self._learn(key))
            task.add_done_callback(lambda done: self._learnt(key, done))
        return await asyncio.shield(task)

    def doubt(self, key: K) -> None:
        """It has changed: what is known, or being read, is not so any more."""
        self._found.pop(key, None)
        self._absent.pop(key, None)
        self._reading.pop(key, None)

    async def refresh(self) -> list[tuple[K, V, V | None]]:
        """Read again what is in use: what has changed, as it was and as it is (None: gone)."""
        unused = time.monotonic() - UNUSED_SECONDS
        for key in [key for key, entry in self._found.items() if entry[0] < unused]:  # type: ignore[operator]
            del self._found[key]
        while self._absent and next(iter(self._absent.values())) <= time.monotonic():
            self._absent.popitem(last=False)
        changes: list[tuple[K, V, V | None]] = []
        keys = list(self._found)
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            held = {key: self._found[key] for key in some if key in self._found}
            now = await self._read(some)
            for key, entry in held.items():
                if self._found.get(key) is not entry:
                    continue  # doubted meanwhile: older than what is read next
                before, after = entry[1], now.get(key)
                if after is None:
                    del self._found[key]
                else:
                    entry[1] = after
                if after != before:
                    changes.append((key, before, after))  # type: ignore[arg-type]
        return changes

    async def close(self) -> None:
        tasks = list(self._reading.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(self, key: K) -> V | None:
        return (await self._read([key])).get(key)

    def _learnt(self, key: K, task: asyncio.Task[V | None]) -> None:
        if self._reading.get(key) is not task:
            return  # doubted meanwhile
        del self._reading[key]
        if task.cancelled() or task.exception() is not None:
            return
        value = task.result()
        now = time.monotonic()
        if value is None:
            self._absent[key] = now + ABSENT_SECONDS
            if len(self._absent) > self._most:
                self._absent.popitem(last=False)
            return
        self._found[key] = [now, value]
        if len(self._found) > self._most:
            self._found.popitem(last=False)


class _KnownBonds:
    """The bonds that Visibility asks for, those that are asked for often from memory."""

    def __init__(self, pairs: Kept[Pair, bool], bonds: Bonds) -> None:
        self._pairs = pairs
        self._bonds = bonds

    async def follows(self, viewer_id: UUID, owner_id: UUID) -> bool:
        return bool(await self._pairs.get((viewer_id, owner_id)))

    async def subscribes(self, viewer_id: UUID, owner_id: UUID) -> bool | None:
        return await self._bonds.subscribes(viewer_id, owner_id)

    async def bought(self, viewer_id: UUID, id: UUID) -> bool | None:
        return await self._bonds.bought(viewer_id, id)
