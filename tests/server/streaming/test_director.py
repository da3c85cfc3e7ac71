"""The Director at its corners: ending against admitting, a database that fails, deletion with an encoder attached.

In process, with a real database, spool and package; only the encoder's connection is a stand-in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from media.broadcast import PublisherSession
from media.ingest.gate import PublishRequest, Refused
from media.package.live import PackageOptions
from media.samples import Codec, Sample, Track
from media.transcode.ladders import LadderOptions, Ladders
from media.transcode.renditions import Renditions
from media.transcode.sounds import Sounds
from server.community.follows.service import Follows
from server.identity.service import Identity
from server.kit.audit import NoAudit
from server.kit.mail import NoMail
from server.kit.secrets import Secrets
from server.settings import Settings
from server.streaming.addresses import Addresses
from server.streaming.broadcasts import store
from server.streaming.broadcasts.director import UNRECORDED_JOB, Director, DirectorOptions
from server.streaming.broadcasts.live import Live
from server.streaming.broadcasts.models import Broadcast
from server.streaming.broadcasts.service import Broadcasts, missing
from server.streaming.channels.service import Channels
from server.streaming.playback.doors import Door
from server.streaming.playback.grants import Grants
from server.streaming.playback.rights import Rights
from server.streaming.playback.sources import LiveSubjects
from server.streaming.playback.subjects import Kind
from server.wiring.watching import Bonds
from storage.jobs import Jobs
from storage.objects.folder import FolderStore
from storage.objects.spool import Spool
from storage.postgres.database import Connection, Database
from tests.support import eventually

AVCC = bytes.fromhex("0164001fffe1000a6764001facb402800b7601000468ef3cb0")
VIDEO = Track(1, Codec.H264, 90_000, AVCC, "avc1.64001f", 1280, 720, 30.0)
AUDIO = Track(2, Codec.AAC, 48_000, bytes.fromhex("1190"), "mp4a.40.2", sample_rate=48_000, channels=2)


LEASE = 2.0
"""Seconds; what renews it may be late on a machine that is busy."""


class Link:
    def __init__(self) -> None:
        self.last_received = time.monotonic()
        self.closed: list[str] = []

    def close(self, reason: str) -> None:
        self.closed.append(reason)

    def want_key(self, rendition: str = "") -> bool:
        return False

    def describe(self) -> dict[str, object]:
        return {}


class Product:
    """What a Director tells and asks: states said, no pictures, nobody watching."""

    def __init__(self) -> None:
        self.said: list[dict[str, object]] = []

    def state(self, channel: str, data: dict[str, object]) -> None:
        self.said.append(data)

    def want(self, live: Live) -> None:
        pass

    def count(self, broadcast_id: str) -> int:
        return 0


class Flaky(Database):
    """A database that can be told to fail."""

    failing = False

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        if self.failing:
            raise ConnectionError("the database went away")
        async with super().acquire() as connection:
            yield connection


class Place:
    """A Director on real storage, and the key of a channel in it."""

    def __init__(self, database: Flaky, folder: Path) -> None:
        self.database = database
        self.folder = folder
        self.product = Product()
        self.key = ""
        self.user = UUID(int=0)

    async def start(self, **options: Any) -> Director:
        self.store = FolderStore(self.folder / "objects")
        await self.store.start()
        self.spool = Spool(self.folder / "spool", self.store, max_bytes=1 << 28, cache_bytes=1 << 20)
        await self.spool.start()
        settings: dict[str, Any] = {
            "node": "here",
            "reconnect_window": 30.0,
            "publisher_dead_after": 0.3,
            "record": True,
            "disk_min_free": 0,
            "lease_seconds": LEASE,
        }
        self.director = Director(
            self.database,
            self.spool,
            self.product,
            self.product,
            self.product,
            DirectorOptions(**{**settings, **options}),
            PackageOptions(),
            Jobs(),
            Renditions(Sounds(0), Ladders(LadderOptions()), aac=False),
        )
        await self.director.start()
        return self.director

    async def stop(self) -> None:
        self.database.failing = False
        await self.director.close()
        await self.spool.close()

    async def prepare(self, title: str = "Prepared", visibility: str = "public") -> Broadcast:
        async with self.database.transaction() as conn:
            channel, key = await Channels(self.database).prepare(conn, self.user)
            self.key = key or self.key
            return await store.add(conn, channel.id, title=title, visibility=visibility)

    async def row(self, id: UUID) -> Broadcast:
        async with self.database.acquire() as conn:
            found = await store.get(conn, id)
        assert found is not None
        return found

    async def admit(self) -> tuple[PublisherSession, Link]:
        link = Link()
        session = await self.director.admit(PublishRequest("rtmp", self.key, "192.0.2.9", "test", link))
        return session, link

    async def until(self, id: UUID, **wanted: object) -> Broadcast:
        async def as_wanted() -> Broadcast | None:
            row = await self.row(id)
            return row if all(getattr(row, name) == value for name, value in wanted.items()) else None

        found = await eventually(as_wanted, within=20, what=f"the row says {wanted}")
        assert found is not None
        return found


@pytest.fixture
async def place(database_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    database = Flaky(database_url, max_size=8)
    await database.start()
    made = Place(database, tmp_path)
    identity = Identity(database, Settings(), mailer=NoMail(), audit=NoAudit(), secrets=Secrets(database, "x" * 32))
    made.user = (await identity.create_admin("someone@example.org", "someone", "correct horse battery")).id
    await made.start()
    yield made
    await made.stop()
    await database.close()


def send(session: PublisherSession, *, seconds: float = 2.5, start: float = 0.0) -> None:
    """Key frames each second and sound between."""
    session.track(VIDEO)
    session.track(AUDIO)
    batch = []
    for n in range(int(seconds * 30)):
        at = int((start * 30 + n) * 3000)
        batch.append(Sample(1, at, at, n % 30 == 0, b"\0\0\0\x01x" + bytes(500)))
    for n in range(int(seconds * 48_000 / 1024)):
        at = int(start * 48_000) + n * 1024
        batch.append(Sample(2, at, at, True, bytes(100), 1024))
    batch.sort(key=lambda s: s.dts / (90_000 if s.track == 1 else 48_000))
    session.samples(batch)


async def test_a_publisher_that_comes_while_it_ends_does_not_revive_it(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    live = place.director.get(str(row.id))
    assert live is not None
    ending = asyncio.create_task(place.director.end(live, "ended by its owner", by_owner=True))
    await asyncio.sleep(0)
    with pytest.raises(Refused):
        await place.admit()
    await ending
    ended = await place.row(row.id)
    assert ended.state == "ended"
    assert ended.recording is not None
    assert place.product.said[-1] == {"state": "ended", "recording": True}


async def test_an_end_that_the_database_misses_is_written_later(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    live = place.director.get(str(row.id))
    assert live is not None
    place.database.failing = True
    with pytest.raises(ConnectionError):
        await place.director.end(live, "ended by its owner")
    assert live.state != "ended"
    place.database.failing = False
    ended = await place.until(row.id, state="ended")
    assert ended.recording is not None


async def test_going_live_is_written_when_the_database_is_back(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    await asyncio.sleep(0.05)
    place.database.failing = True
    send(session)
    live = place.director.get(str(row.id))
    assert live is not None
    assert live.state == "live"
    await eventually(lambda: live.unwritten)
    place.database.failing = False
    shown = await place.until(row.id, state="live")
    assert shown.started_at is not None


async def test_a_publisher_that_died_before_its_first_frame_is_followed_by_another(place: Place) -> None:
    row = await place.prepare()
    _, first = await place.admit()
    second, _ = await place.admit()
    assert first.closed
    send(second)
    await place.until(row.id, state="live")
    second.close("gone", clean=True)
    await place.until(row.id, state="interrupted")


async def test_a_publisher_that_leaves_before_its_first_frame_leaves_the_prepared_broadcast(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    session.close("gone", clean=True)
    assert place.director.get(str(row.id)) is None
    again, _ = await place.admit()
    send(again)
    await place.until(row.id, state="live")


async def test_deletion_hangs_up_on_the_encoder_and_leaves_no_file(place: Place) -> None:
    row = await place.prepare()
    session, link = await place.admit()
    session.track(VIDEO)
    async with place.director.withdrawn(row), place.database.transaction() as conn:
        await store.delete(conn, row.id)
    assert link.closed
    send(session)
    assert place.director.get(str(row.id)) is None
    await place.spool.delete_prefix(f"live/{row.id}")
    await place.spool.flush()
    assert [path for path in place.folder.rglob(f"*{row.id}*/*") if path.is_file()] == []


async def test_what_was_not_recorded_has_its_deletion_written_with_its_end(place: Place) -> None:
    await place.stop()
    await place.start(record=False)
    row = await place.prepare()
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    live = place.director.get(str(row.id))
    assert live is not None
    await place.director.end(live, "ended by its owner")
    assert (await place.row(row.id)).recording is None
    async with place.database.acquire() as conn:
        waiting = await conn.fetch("select payload from pgqueuer where entrypoint = $1", UNRECORDED_JOB)
    assert [job["payload"].decode() for job in waiting] == [str(row.id)]


async def test_after_its_owner_ended_it_an_encoder_that_reconnects_starts_nothing(place: Place) -> None:
    older = await place.prepare("An older plan")
    row = await place.prepare("Tonight", "unlisted")
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    live = place.director.get(str(row.id))
    assert live is not None
    await place.director.end(live, "ended by its owner", by_owner=True)
    with pytest.raises(Refused, match="You ended this broadcast"):
        await place.admit()
    assert (await place.row(older.id)).state == "created"
    new = await place.prepare("The next one")
    session, _ = await place.admit()
    send(session)
    await place.until(new.id, state="live")


async def test_a_push_of_its_own_is_as_visible_as_the_last_broadcast(place: Place) -> None:
    row = await place.prepare("Tonight", "unlisted")
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    live = place.director.get(str(row.id))
    assert live is not None
    await place.director.end(live, "the publisher did not come back")
    await place.admit()
    (again,) = [live.row for live in place.director if live.state == "created"]
    assert again.visibility == "unlisted"


async def test_a_stop_hands_over_and_the_next_start_goes_on(place: Place) -> None:
    row = await place.prepare()
    session, link = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    await place.stop()
    assert link.closed
    assert (await place.row(row.id)).state == "interrupted"
    await place.start()
    live = place.director.get(str(row.id))
    assert live is not None
    again, _ = await place.admit()
    send(again)
    await place.until(row.id, state="live")
    await place.director.end(live, "ended by its owner")
    recording = (await place.row(row.id)).recording
    assert recording is not None
    assert recording.duration == pytest.approx(5.0, abs=0.3)


async def test_a_broken_journal_keeps_nobody_from_starting(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    await place.stop()
    for journal in place.folder.rglob("journal.jsonl"):
        journal.write_bytes(b'{"what": "is this"}\n\xff\xfe\n' + journal.read_bytes()[40:])
    await place.start()
    another = await place.row(row.id)
    assert another.state in ("interrupted", "ended")


async def test_a_lease_is_not_taken_from_a_process_that_renews_it(place: Place) -> None:
    row = await place.prepare()
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")

    async def leased_until() -> datetime:
        async with place.database.acquire() as conn:
            until = await conn.fetchval("SELECT lease_until FROM broadcasts WHERE id = $1", row.id)
        assert isinstance(until, datetime)
        return until

    first = await leased_until()

    async def renewed() -> bool:
        return await leased_until() > first + timedelta(seconds=LEASE)  # long after the first would be over

    await eventually(renewed, every=0.1)
    async with place.database.acquire() as conn:
        assert await store.take(conn, row.id, "elsewhere", timedelta(seconds=5)) is None


async def test_what_is_on_air_can_be_opened_while_the_database_is_away(place: Place) -> None:
    row = await place.prepare("Tonight")
    session, _ = await place.admit()
    send(session)
    await place.until(row.id, state="live")
    nobody = Bonds(Follows(place.database, {}))
    identity = Identity(
        place.database, Settings(), mailer=NoMail(), audit=NoAudit(), secrets=Secrets(place.database, "x" * 32)
    )
    lives = LiveSubjects(place.database, place.director)
    rights = Rights(Grants(b"k" * 32, seconds=60, skew=1), {Kind.LIVE: lives}, nobody, nobody, lives.held)
    broadcasts = Broadcasts(
        place.database,
        place.director,
        Channels(place.database),
        identity,
        place.product,
        place.product,
        Jobs(),
        Door(rights, Kind.LIVE, missing),
        record=True,
    )
    address = Addresses("https://live.example.org", 1935, None).at("https://live.example.org")
    assert (await broadcasts.show(row.id, None, address)).owner.username == "someone"
    place.database.failing = True
    shown = await broadcasts.show(row.id, None, address)
    assert (shown.title, shown.state, shown.owner.username) == ("Tonight", "live", "someone")
    joined = await broadcasts.join(row.id, None, address)
    assert joined.playback.hls.endswith(f"/live/{row.id}/p/index.m3u8")
    with pytest.raises(ConnectionError):
        await broadcasts.show(UUID(int=7), None, address)
