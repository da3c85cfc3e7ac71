"""Sessions of viewers by WebRTC: who is let in, what is counted, and when a session ends.

A session begins with an offer and ends with its connection, its broadcast, a DELETE, or the right to watch. The media
side (`media.egress`) knows no people; here nothing is known of packets. `Sessions` lives as long as the server.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, TypeVar
from uuid import UUID

from media.egress.agree import agree, plays, sections_of, streams_of
from media.egress.programme import Programme, Programmes
from media.egress.whep import Viewer, ViewerOptions
from media.protocols.errors import SdpError
from media.protocols.sdp import Description
from media.rtc.offer import Agreement, NothingInCommon
from media.rtc.options import CannotServe
from media.rtc.peer import Peer
from media.rtc.port import RtcPort
from server.kit.auth import Caller
from server.kit.limits import address_key
from server.streaming.broadcasts import store
from server.streaming.broadcasts.director import Director
from server.streaming.broadcasts.errors import NoSuchBroadcast
from server.streaming.broadcasts.live import Live
from server.streaming.broadcasts.models import State
from server.streaming.negotiation import refusal
from server.streaming.whep import errors
from storage.postgres.database import Database

log = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0

Key = TypeVar("Key")


class Audience(Protocol):
    """Who watches, for the count."""

    def touch(self, broadcast_id: str, viewer: str) -> None: ...


class Door(Protocol):
    """Who may watch what; as it was within the last second."""

    async def enter(self, id: UUID, viewer: Caller | None) -> object:
        """Returns when he may. Raises the Problem to answer with."""
        ...

    async def may_still(self, id: UUID, viewer: Caller | None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Sessions at once in this process: in all, of one broadcast, from one address."""

    most: int
    per_broadcast: int
    per_address: int


@dataclass(slots=True)
class Session:
    """caller: who opened it, when that was said. viewer_key: by which the person is counted once."""

    id: str
    broadcast_id: UUID
    programme: Programme
    viewer: Viewer
    peer: Peer
    caller: Caller | None
    viewer_key: str
    address: str
    agreement: Agreement
    restarts: int = 0


class Sessions:
    def __init__(
        self,
        port: RtcPort,
        programmes: Programmes,
        director: Director,
        database: Database,
        audience: Audience,
        door: Door,
        limits: Limits,
        options: ViewerOptions,
    ) -> None:
        self._port = port
        self._programmes = programmes
        self._director = director
        self._database = database
        self._audience = audience
        self._door = door
        self._limits = limits
        self._options = options
        self._sessions: dict[str, Session] = {}
        self._by_viewer: dict[Viewer, Session] = {}
        self._on_broadcast: Counter[UUID] = Counter()
        self._at_address: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None
        self._opened = 0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self._sweep()
            except Exception:
                log.exception("viewers by WebRTC could not be looked after")

    async def close(self) -> None:
        """Send everybody away. The port closes after us."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for session in list(self._sessions.values()):
            session.viewer.close("the server is stopping")
        self._programmes.close()

    def describe(self) -> dict[str, object]:
        return {
            "sessions": len(self._sessions),
            "connected": sum(session.viewer.connected for session in self._sessions.values()),
            "opened": self._opened,
            **self._programmes.describe(),
        }

    @property
    def count(self) -> int:
        return len(self._sessions)

    # what viewers do

    async def open(
        self, id: UUID, offer: Description, *, caller: Caller | None, viewer_key: str, address: str
    ) -> tuple[Session, str]:
        """A session for this offer, and the answer (SDP). Raises Problems."""
        await self._door.enter(id, caller)
        live = await self._live(id)
        key = address_key(address)
        self._check_room(id, key)
        programme = self._programmes.hold(live.media)
        self._on_broadcast[id] += 1
        self._at_address[key] += 1
        try:
            problem = await programme.judged()
            if problem is not None:
                raise (errors.BFrames if problem.code == "b_frames" else errors.NotPlayable)(problem.words)
            if programme.ended or live.ending is not None:
                raise errors.NotOnAir("The broadcast has just ended.")
            try:
                session, text = self._make(id, programme, offer, caller, viewer_key, key)
            except SdpError as error:
                raise refusal(error) from None
        except BaseException:
            self._leave(id, key, programme)
            raise
        self._sessions[session.id] = session
        self._by_viewer[session.viewer] = session
        self._opened += 1
        return session, text

    def find(self, broadcast_id: UUID, id: str) -> Session:
        """Whoever knows its id may end it or change its network: nobody else was told. Raises NoSuchSession."""
        session = self._sessions.get(id)
        if session is None or session.broadcast_id != broadcast_id:
            raise errors.NoSuchSession("The session is over, or there never was one of that name.")
        return session

    def end(self, session: Session) -> None:
        session.viewer.close("the viewer has left")

    def ended(self, ids: Collection[UUID]) -> None:
        """Tokens of these accounts, sign-ins and API keys are void: so is what was opened with them."""
        for session in list(self._sessions.values()):
            caller = session.caller
            if caller is not None and (caller.user_id in ids or caller.session_id in ids):
                session.viewer.close("the sign-in has ended")

    def _make(
        self, id: UUID, programme: Programme, offer: Description, caller: Caller | None, viewer_key: str, address: str
    ) -> tuple[Session, str]:
        """Raises SdpError for an offer that cannot be."""
        picture = programme.track
        agreement = agree(offer, picture)
        if picture is not None and not plays(agreement, picture.codec):
            raise NothingInCommon(f"The picture is {picture.codec_string}, which was not offered.", [], [], [])
        cname = secrets.token_hex(8)
        sections = sections_of(agreement)
        viewer = Viewer(programme, sections, self._gone, self._options, cname)
        try:
            peer = self._port.peer(viewer, name=f"viewer of {id}")
        except CannotServe as refused:
            problem = errors.NoRoom(refused.reason)
            problem.headers["Retry-After"] = "5"
            raise problem from None
        viewer.attach(peer)
        try:
            peer.connect(agreement.remote)
        except ValueError as error:
            peer.close("the offer cannot be answered")
            raise SdpError(str(error)) from None
        session = Session(
            secrets.token_urlsafe(24), id, programme, viewer, peer, caller, viewer_key, address, agreement
        )
        return session, agreement.answer(peer.local, self._port.candidates(), streams_of(sections, cname))

    async def _live(self, id: UUID) -> Live:
        live = self._director.get(str(id))
        if live is not None:
            if live.ending is not None or live.state is State.ENDED:
                raise errors.NotOnAir("The broadcast has ended.")
            return live
        async with self._database.acquire() as conn:
            row = await store.get(conn, id)
        if row is None:
            raise NoSuchBroadcast("It was deleted, or the address is wrong.")
        if row.state is State.CREATED:
            raise errors.NotOnAir("The broadcast has not started yet.")
        if row.state is State.ENDED:
            raise errors.NotOnAir("The broadcast has ended.")
        problem = errors.OnAirElsewhere("Play by HLS, or try again in a moment.")
        problem.headers["Retry-After"] = "1"
        raise problem

    def _check_room(self, id: UUID, address: str) -> None:
        limits = self._limits
        if self._on_broadcast.total() >= limits.most:
            raise errors.NoRoom("Play by HLS, which has no such limit.")
        if self._on_broadcast[id] >= limits.per_broadcast:
            raise errors.NoRoom("This broadcast has as many viewers by WebRTC as it may: play by HLS.")
        if self._at_address[address] >= limits.per_address:
            raise errors.TooManySessions("End one of them first, or play by HLS.")

    # how they end

    def _gone(self, viewer: Viewer, reason: str) -> None:
        session = self._by_viewer.pop(viewer, None)
        if session is None:
            return
        del self._sessions[session.id]
        self._leave(session.broadcast_id, session.address, session.programme)
        log.debug("a viewer of %s by WebRTC is gone: %s", session.broadcast_id, reason)

    def _leave(self, id: UUID, address: str, programme: Programme) -> None:
        _take_one(self._on_broadcast, id)
        _take_one(self._at_address, address)
        self._programmes.release(programme)

    async def _sweep(self) -> None:
        """Count who watches, and ask again whether he may."""
        for session in list(self._sessions.values()):
            live = self._director.get(str(session.broadcast_id))
            if live is None or live.media is not session.programme.broadcast:
                session.viewer.close("the broadcast is gone")
            elif not await self._door.may_still(session.broadcast_id, session.caller):
                session.viewer.close("the right to watch has ended")
            elif session.viewer.connected:
                self._audience.touch(live.id, session.viewer_key)


def _take_one(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
