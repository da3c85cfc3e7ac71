"""Sessions of publishers by WebRTC: who may open one, how many there may be, and when each is over.

A session begins with an offer and ends with its connection, its broadcast, or a DELETE. Who publishes proves it by the
stream key, as encoders do, or by an access token or API key, as the studio does; the same proof is asked for whatever
is done with the session. The gate is the one that RTMP asks. `Whips` lives as long as the server.
"""

from __future__ import annotations

import hmac
import secrets
from collections import Counter
from dataclasses import dataclass

from media.ingest.gate import Gate, PublishRequest, Refused
from media.ingest.whip import WhipLink, WhipOptions
from media.protocols.errors import SdpError
from media.protocols.sdp import Description
from media.rtc.offer import Agreement, NothingInCommon, Wanted, take
from media.rtc.options import CannotServe
from media.rtc.peer import Peer
from media.rtc.port import RtcPort
from media.samples import Codec, Kind
from server.kit.auth import Caller
from server.kit.limits import address_key
from server.kit.problems import Unauthorized
from server.streaming.channels.service import KEY_PREFIX, hash_key
from server.streaming.negotiation import refusal
from server.streaming.whip import errors

TAKEN = tuple(Wanted(codec) for codec in (Codec.H264, Codec.AV1, Codec.VP9, Codec.OPUS))
"""What HLS can carry, in our order: H.264 plays everywhere."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Sessions at once in this process: in all, from one address."""

    most: int
    per_address: int


@dataclass(frozen=True, slots=True)
class Proof:
    """Who speaks: a stream key, or an account; only a hash of the key is kept."""

    key: str
    account: str

    @classmethod
    def of(cls, caller: Caller | None, token: str | None) -> Proof:
        """caller: whose the token is, None when it is a stream key."""
        if caller is not None:
            return cls("", str(caller.user_id))
        if token is None or not token.startswith(KEY_PREFIX):
            raise Unauthorized("Send the stream key, or an access token, as Authorization: Bearer …")
        return cls(token, "")

    @property
    def digest(self) -> bytes:
        return hash_key(self.key or self.account)


@dataclass(slots=True, eq=False)
class Session:
    id: str
    link: WhipLink
    peer: Peer
    agreement: Agreement
    proof: bytes
    address: str
    restarts: int = 0


class Whips:
    def __init__(self, port: RtcPort, gate: Gate, limits: Limits, options: WhipOptions) -> None:
        self._port = port
        self._gate = gate
        self._limits = limits
        self._options = options
        self._sessions: dict[str, Session] = {}
        self._by_link: dict[WhipLink, str] = {}
        self._at_address: Counter[str] = Counter()
        self._opened = 0

    @property
    def count(self) -> int:
        return len(self._sessions)

    def describe(self) -> dict[str, object]:
        return {
            "sessions": len(self._sessions),
            "connected": sum(session.link.connected for session in self._sessions.values()),
            "opened": self._opened,
        }

    async def open(self, offer: Description, proof: Proof, *, address: str, encoder: str) -> tuple[Session, str]:
        """A session for this offer, and the answer (SDP). Raises Problems."""
        agreement = _agree(offer)
        where = address_key(address)
        self._check_room(where)
        self._at_address[where] += 1
        link = WhipLink(self._gate, agreement, self._options, address, self._gone)
        try:
            session = await self._let_in(link, agreement, proof, where, encoder)
        except BaseException:
            self._leave(where)
            raise
        self._sessions[session.id] = session
        self._by_link[link] = session.id
        self._opened += 1
        start = round(1000 * self._options.start_bitrate)
        return session, agreement.answer(session.peer.local, self._port.candidates(), start_bitrate=start)

    def find(self, id: str, proof: Proof) -> Session:
        """Raises NoSuchSession, also for those of others."""
        session = self._sessions.get(id)
        if session is None or not hmac.compare_digest(session.proof, proof.digest):
            raise errors.NoSuchSession("The session is over, or there never was one of that name.")
        return session

    def end(self, session: Session) -> None:
        session.link.end("the encoder ended the stream")

    async def _let_in(self, link: WhipLink, agreement: Agreement, proof: Proof, where: str, encoder: str) -> Session:
        try:
            peer = self._port.peer(link, name=f"publisher at {where}")
        except CannotServe as refused:
            problem = errors.NoRoom(refused.reason)
            problem.headers["Retry-After"] = "5"
            raise problem from None
        request = PublishRequest("whip", proof.key, link.address, encoder, link, account=proof.account)
        try:
            publisher = await self._gate.admit(request)
        except Refused as refused:
            peer.close(refused.description)
            raise errors.problem_of(refused) from None
        except BaseException:
            peer.close("the server failed")
            raise
        link.begin(request, publisher, peer)
        try:
            peer.connect(agreement.remote)
        except ValueError as error:
            link.close(str(error))
            publisher.close(str(error), clean=False)
            raise refusal(SdpError(str(error))) from None
        return Session(secrets.token_urlsafe(24), link, peer, agreement, proof.digest, where)

    def _check_room(self, where: str) -> None:
        if self._at_address.total() >= self._limits.most:
            problem = errors.NoRoom("Push by RTMP, or try again later.")
            problem.headers["Retry-After"] = "30"
            raise problem
        if self._at_address[where] >= self._limits.per_address:
            raise errors.TooManySessions(f"At most {self._limits.per_address} from one address: end one of them first.")

    def _gone(self, link: WhipLink) -> None:
        id = self._by_link.pop(link, None)
        if id is not None:
            self._leave(self._sessions.pop(id).address)

    def _leave(self, where: str) -> None:
        self._at_address[where] -= 1
        if not self._at_address[where]:
            del self._at_address[where]


def _agree(offer: Description) -> Agreement:
    """A picture that cannot be taken is a refusal, also when the sound could be: nobody wants to go live without."""
    try:
        agreement = take(offer, TAKEN, receive=True)
        refused = agreement.without(Kind.VIDEO)
        if refused is not None:
            names = [str(format) for format in refused.offered.formats if format.name]
            raise NothingInCommon(f"{refused.why}. Taken are H264, AV1 and VP9.", names, ["H264", "AV1", "VP9"], [])
    except SdpError as error:
        raise refusal(error) from None
    return agreement
