"""One publisher by WebRTC: packets of its connection to samples of its broadcast, and what its sender is told back.

A WhipLink is made for an offer that can be taken, is given its publisher and its peer, and dies with the peer. It sorts
packets to sources, asks for missing packets and for key frames, and tells what arrived when, so that the sender finds
the rate that its network carries. It runs on the loop, by what comes in and by two timers of its own.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from media.ingest.gate import Gate, Publisher, PublishRequest
from media.ingest.pace import Pace
from media.ingest.whip_intake import WhipIntake
from media.ingest.whip_source import Placed, Source
from media.protocols.errors import ProtocolError, RtpError
from media.protocols.rtp import packet as rtp
from media.protocols.rtp import rtcp, rtx
from media.protocols.rtp.clock import SenderClock
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.twcc import ArrivalLog
from media.rtc.offer import Agreed, AgreedSection, Agreement
from media.samples import VIDEO_TIMESCALE, Kind, Track

log = logging.getLogger(__name__)

TICK = 0.1
FEEDBACK_SECONDS = 0.05
"""What came when is told this often while packets come, and with each tick."""
REPORT_SECONDS = 1.0
ASK_AGAIN = 0.3
"""A key frame that was asked for and did not come is asked for again after this, s, or three round trips."""
LEAST_WAIT = 0.005
FIRST_RTT = 0.1
START_REMB, LEAST_REMB = 3_000_000.0, 150_000.0
MAX_MALFORMED = 500
"""Packets that cannot be read, after which nobody believes in the next one."""
LAYER_SILENT = 2.0
"""A simulcast layer that sent nothing for so long is not the best one any more, s."""

LAYER_GONE = 5.0
"""A layer that sent nothing for so long is listed no longer, s."""
_LAYER = re.compile(r"(?!opus$|aac$|\d+p$)[a-z0-9]{1,12}")
"""Names of layers that can be those of renditions: not those of sound, nor of rungs."""


class Peer(Protocol):
    """The connection. Sending never blocks and never raises."""

    @property
    def heard(self) -> float: ...

    def send_rtcp(self, packet: bytes) -> None: ...

    def close(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WhipOptions:
    """max_bitrate: Mbit/s, 0: any. max_ahead: seconds that media may run ahead of the clock. idle_timeout: seconds
    without media. key_seconds: the distance of key frames that is aimed at. wait: for a missing packet, s.
    start_bitrate: Mbit/s that a browser is told to begin with, 0: what it would by itself."""

    max_bitrate: float = 60.0
    max_ahead: float = 30.0
    idle_timeout: float = 30.0
    key_seconds: float = 2.0
    wait: float = 0.5
    start_bitrate: float = 2.0


class WhipLink:
    """A Link for its broadcast and a Handler for its peer. `on_gone` is called once, when the connection is over."""

    def __init__(
        self, gate: Gate, agreement: Agreement, options: WhipOptions, address: str, on_gone: Callable[[WhipLink], None]
    ) -> None:
        self.address = address
        self.connected = False
        self.closed = False
        self.ssrc = 1 + secrets.randbelow(0xFFFFFFFE)
        self._gate = gate
        self._options = options
        self._on_gone = on_gone
        self._request: PublishRequest | None = None
        self._peer: Peer | None = None
        self._publisher: Publisher | None = None
        self._intake: WhipIntake | None = None
        self._by_payload: dict[int, tuple[AgreedSection, Agreed, bool]] = {}
        self._extensions: dict[int, rtp.ExtensionMap] = {}
        for section in agreement.sections:
            extensions = rtp.ExtensionMap(section.extensions)
            for one in section.formats:
                for payload_type, repairs in ((one.format.payload_type, False), (one.rtx, True)):
                    if payload_type:
                        self._by_payload[payload_type] = (section, one, repairs)
                        self._extensions[payload_type] = extensions
        self._reduced = all(section.offered.rtcp_rsize for section in agreement.sections)
        self._arrivals = ArrivalLog(sender=self.ssrc) if any(s.transport_cc for s in agreement.sections) else None
        self._repaired = _repaired(agreement)
        self._clock = SenderClock()
        self._sources: dict[int, Source] = {}
        self._main: Source | None = None
        self._created = self._last_media = time.monotonic()
        self._pace = Pace(options.max_bitrate, self._created)
        self._received = self._packets = self._malformed = self._strange = 0
        self._plis = self._nacked = 0
        self._rtt = FIRST_RTT
        self._rtt_known = False
        self._remb = START_REMB
        self._loss = 0.0
        self._rate = 0.0
        self._fed_at = self._told_at = self._created
        self._told_bytes = 0
        self._told_fir = 0
        self._steady: asyncio.TimerHandle | None = None
        self._gaps: asyncio.TimerHandle | None = None
        self._gaps_at = 0.0

    def begin(self, request: PublishRequest, publisher: Publisher, peer: Peer) -> None:
        """The gate let it in. What the peer brings from now on is its media."""
        self._request, self._publisher, self._peer = request, publisher, peer
        self._intake = WhipIntake(publisher, max_ahead=self._options.max_ahead)

    def end(self, reason: str) -> None:
        """The publisher said that it is through."""
        self._release(reason, clean=True)
        self._hang_up(reason)

    # as its broadcast sees it

    @property
    def last_received(self) -> float:
        return self._peer.heard if self._peer is not None else self._created

    def close(self, reason: str) -> None:
        """The publisher knows already."""
        self._publisher = self._intake = None
        self._hang_up(reason)

    def want_key(self, rendition: str = "") -> bool:
        if rendition:
            source = next((one for one in self._sources.values() if one.rid == rendition), None)
        else:
            source = self._main
        if source is None or not self.connected:
            return False
        self._ask_key(source, time.monotonic())
        return True

    def describe(self) -> dict[str, object]:
        """bitrate in bit/s and loss as a share, over the last second; rtt and jitter in s, rtt None as long as no
        packet had to be sent again."""
        sources = self._sources.values()
        return {
            "protocol": "whip",
            "connected": self.connected,
            "address": self.address,
            "bitrate": self._rate,
            "loss": self._loss,
            "rtt": self._rtt if self._rtt_known else None,
            "jitter": max((one.jitter.jitter / one.clock.rate for one in sources), default=0.0),
            "lost": sum(one.jitter.lost for one in sources),
            "recovered": sum(one.jitter.recovered for one in sources),
            "damaged": sum(one.depacketizer.damaged for one in sources),
            "nacks": self._nacked,
            "plis": self._plis,
            "malformed": self._malformed,
            "layers": [one.rid for one in sources if one.rid],
        }

    # as its peer sees it

    def on_connected(self) -> None:
        self.connected = True
        self._last_media = time.monotonic()
        self._steady = asyncio.get_running_loop().call_later(TICK, self._tick)

    def on_closed(self, reason: str) -> None:
        self._shut()
        self._release(reason, clean=False)
        self._on_gone(self)

    def on_rtp(self, packet: bytes, arrival: float) -> None:
        if self._intake is None:
            return
        self._received += len(packet)
        self._packets += 1
        try:
            parsed = rtp.parse(packet)
            if self._arrivals is not None:
                extensions = self._extensions.get(parsed.payload_type)
                number = -1 if extensions is None else extensions.transport_sequence(parsed)
                if number >= 0:
                    self._arrivals.arrived(number, arrival)
                    if arrival - self._fed_at >= FEEDBACK_SECONDS:
                        self._feed(arrival)
            self._take(parsed, arrival)
        except RtpError:
            self._spoiled()
        except ProtocolError as error:
            self._turn_away(error.reason)

    def on_rtcp(self, packet: bytes) -> None:
        if self._intake is None:
            return
        try:
            messages = rtcp.parse(packet)
        except RtpError:
            self._spoiled()
            return
        now = time.monotonic()
        for message in messages:
            if isinstance(message, rtcp.SenderReport):
                source = self._sources.get(message.ssrc)
                if source is not None:
                    source.clock.report(message, now)

    # packets to frames

    def _take(self, packet: rtp.RtpPacket, arrival: float) -> None:
        """Raises ProtocolError."""
        meant = self._by_payload.get(packet.payload_type)
        if meant is None:
            self._strange += 1
            return
        section, format, repairs = meant
        if repairs:
            source = self._repaired_source(packet)
            inner = None
            if source is not None:
                inner = rtx.unwrap(packet, payload_type=format.format.payload_type, ssrc=source.ssrc)
            if source is None or inner is None:
                return  # padding, by which senders find out what the network carries
            if (took := source.answered(inner.sequence, arrival)) is not None:
                self._rtt += (took - self._rtt) / 8 if self._rtt_known else took - self._rtt
                self._rtt_known = True
            placed = source.push(inner, arrival, repaired=True)
        else:
            source = self._sources.get(packet.ssrc)
            if source is None or source.codec is not format.codec:
                source = self._new_source(packet, section, format, arrival)
                if source is None:
                    self._strange += 1
                    return
            placed = source.push(packet, arrival)
        self._last_media = arrival
        if placed:
            self._hand_on(source, placed, arrival)
        if source.jitter.held or source.jitter.deadline() is not None:
            self._watch_gaps(arrival)
        if source.wants_key(arrival) and self._counts(source):
            self._ask_key(source, arrival)

    def _new_source(
        self, packet: rtp.RtpPacket, section: AgreedSection, format: Agreed, arrival: float
    ) -> Source | None:
        """None when it belongs to no layer that was agreed. Another of its kind and layer is over: its sender has
        begun anew."""
        rid = ""
        if section.rids:
            rid = self._extensions[packet.payload_type].read(packet).rid
            if rid not in section.rids:
                return None
        for ssrc, other in list(self._sources.items()):
            if other.codec.kind is section.kind and other.rid == rid:
                del self._sources[ssrc]
                if self._main is other:
                    self._main = None
        sound = section.kind is Kind.AUDIO
        clock = self._clock.source(48_000 if sound else VIDEO_TIMESCALE, leads=sound)
        source = Source(packet.ssrc, format.codec, rid, clock, self._options.wait, arrival)
        self._sources[packet.ssrc] = source
        return source

    def _repaired_source(self, packet: rtp.RtpPacket) -> Source | None:
        """Whose retransmission it is: by what the offer said of it, by its layer, or because there is only one."""
        known = self._sources.get(self._repaired.get(packet.ssrc, -1))
        if known is not None:
            return known
        extensions = self._extensions[packet.payload_type].read(packet)
        rid = extensions.repaired_rid or extensions.rid
        pictures = [one for one in self._sources.values() if one.codec.kind is Kind.VIDEO]
        found = [one for one in pictures if one.rid == rid] if rid else pictures
        if len(found) != 1:
            return None
        if len(self._repaired) < 64:
            self._repaired[packet.ssrc] = found[0].ssrc
        return found[0]

    def _hand_on(self, source: Source, placed: Iterable[Placed], now: float) -> None:
        """Raises ProtocolError."""
        intake = self._intake
        for position, frame in placed:
            if intake is None or self._intake is not intake or source.track is None:
                return
            if source.codec.kind is Kind.AUDIO:
                intake.sound(source.track, position, frame)
            elif not self._picture(intake, source, source.track, position, frame, now):
                self._ask_key(source, now)

    def _picture(
        self, intake: WhipIntake, source: Source, track: Track, position: float, frame: Frame, now: float
    ) -> bool:
        """Whether this source can go on without a key frame. Raises ProtocolError."""
        if self._is_main(source, key=frame.key, now=now):
            return intake.picture(track, position, frame)
        if _is_layer(source.rid):
            return intake.layer(source.rid, track, position, frame)
        return True

    def _is_main(self, source: Source, *, key: bool, now: float) -> bool:
        """Whether the broadcast gets this source's pictures: the largest of those that are sent. It changes at a key
        frame, because only there another picture can begin."""
        main = self._main
        if main is source or main is None:
            self._main = source
            return True
        if not key or not (now - main.last_packet > LAYER_SILENT or _area(source) > _area(main)):
            return False
        self._main = source
        if self._intake is not None:
            for layer in (main, source):
                self._intake.end_layer(layer.rid)
        return True

    def _counts(self, source: Source) -> bool:
        """Whether its key frames matter to anybody: those of a layer that nobody is given do not."""
        return self._main is None or self._main is source or _area(source) == 0 or _is_layer(source.rid)

    # what the sender is told

    def _ask_key(self, source: Source, now: float) -> None:
        if now - source.asked_key < max(ASK_AGAIN, 3 * self._rtt):
            return
        source.asked_key = now
        source.plis += 1
        self._plis += 1
        feedback = next((one[0].feedback for one in self._by_payload.values() if one[1].codec is source.codec), ())
        if "nack pli" in feedback or "ccm fir" not in feedback:
            self._tell([rtcp.Pli(self.ssrc, source.ssrc)])
        else:
            self._told_fir = (self._told_fir + 1) & 0xFF
            self._tell([rtcp.Fir(self.ssrc, ((source.ssrc, self._told_fir),))])

    def _tell(self, messages: Sequence[rtcp.Rtcp]) -> None:
        if self._peer is None or not messages:
            return
        if not self._reduced and not isinstance(messages[0], rtcp.ReceiverReport):
            messages = [rtcp.ReceiverReport(self.ssrc), self._name(), *messages]
        self._peer.send_rtcp(rtcp.compound(messages))

    def _name(self) -> rtcp.Description:
        return rtcp.Description(((self.ssrc, ((rtcp.CNAME, b"social-flow"),)),))

    def _watch_gaps(self, now: float) -> None:
        deadlines = [due for one in self._sources.values() if (due := one.jitter.deadline()) is not None]
        if not deadlines:
            return
        due = max(min(deadlines), now + LEAST_WAIT)
        if self._gaps is not None:
            if self._gaps_at <= due + LEAST_WAIT:
                return
            self._gaps.cancel()
        self._gaps_at = due
        self._gaps = asyncio.get_running_loop().call_later(due - now, self._on_gaps)

    def _on_gaps(self) -> None:
        self._gaps = None
        now = time.monotonic()
        for source in list(self._sources.values()):
            wanted = source.missing(now, self._rtt)
            if wanted:
                self._nacked += len(wanted)
                self._tell(rtcp.nacks(self.ssrc, source.ssrc, wanted))
        self._expire(now)
        if not self.closed:
            self._watch_gaps(now)

    def _expire(self, now: float) -> None:
        try:
            for source in list(self._sources.values()):
                if placed := source.expire(now):
                    self._hand_on(source, placed, now)
        except ProtocolError as error:
            self._turn_away(error.reason)

    def _tick(self) -> None:
        self._steady = asyncio.get_running_loop().call_later(TICK, self._tick)
        now = time.monotonic()
        if now - self._fed_at >= FEEDBACK_SECONDS:
            self._feed(now)
        self._keep_pace(now)
        if self.closed:
            return
        main = self._main
        for source in self._sources.values():
            if source.wants_key(now) and self._counts(source):
                self._ask_key(source, now)
        if main is not None and now - max(main.last_key, main.asked_key) >= self._options.key_seconds:
            for source in self._sources.values():
                if source.codec.kind is Kind.VIDEO:
                    self._ask_key(source, now)  # all layers at once: segments are cut at the same moment
        for source in self._sources.values():
            if source.rid and source is not main and now - source.last_packet > LAYER_GONE and self._intake is not None:
                self._intake.end_layer(source.rid)
        if now - self._told_at >= REPORT_SECONDS:
            self._report(now)

    def _feed(self, now: float) -> None:
        """What came when, for the sender's estimate of its bandwidth."""
        self._fed_at = now
        if self._arrivals is not None:
            self._arrivals.source = next(iter(self._sources), 0)
            for message in self._arrivals.feedback():
                self._tell([message])

    def _report(self, now: float) -> None:
        sources = list(self._sources.values())
        blocks = tuple(source.report(now) for source in sources)
        took, self._told_at = now - self._told_at, now
        self._rate = (self._received - self._told_bytes) * 8 / took
        self._told_bytes = self._received
        self._loss = max((block.fraction / 256 for block in blocks), default=0.0)
        messages: list[rtcp.Rtcp] = [rtcp.ReceiverReport(self.ssrc, blocks[:31]), self._name()]
        if self._arrivals is None and sources:
            messages.append(rtcp.Remb(self.ssrc, int(self._estimate()), tuple(one.ssrc for one in sources)))
        self._tell(messages)

    def _estimate(self) -> float:
        """What a sender without transport-wide feedback is told that the network carries, by what was lost (as in the
        draft on Google's congestion control, section 6)."""
        if self._loss > 0.1:
            self._remb = max(self._rate, LEAST_REMB) * (1 - self._loss / 2)
        elif self._loss < 0.02:
            self._remb *= 1.08
        most = self._options.max_bitrate * 1e6 or 1e9
        self._remb = max(LEAST_REMB, min(self._remb, most))
        return self._remb

    # limits, and the end

    def _keep_pace(self, now: float) -> None:
        reason = self._pace.excess(self._received, now) if self._received >= self._pace.next_look else ""
        reason = reason or self._pace.crowd(self._packets // 4, now)
        if not reason and now - self._last_media > self._options.idle_timeout:
            reason = f"no media came for {self._options.idle_timeout:g} s"
        if reason:
            self._turn_away(reason)

    def _spoiled(self) -> None:
        self._malformed += 1
        if self._malformed > MAX_MALFORMED:
            self._turn_away(f"{self._malformed} packets could not be read")

    def _turn_away(self, reason: str) -> None:
        """For what it sent, or did not send in time."""
        if self.closed:
            return
        log.warning("whip %s: closed: %s", self.address, reason)
        self._gate.turned_away(self._request, self.address, reason)
        self._release(reason, clean=False)
        self._hang_up(reason)

    def _hang_up(self, reason: str) -> None:
        self._shut()
        if self._peer is not None:
            self._peer.close(reason)

    def _release(self, reason: str, *, clean: bool) -> None:
        publisher, self._publisher, self._intake = self._publisher, None, None
        if publisher is not None:
            publisher.close(reason, clean=clean)

    def _shut(self) -> None:
        self.closed, self.connected = True, False
        for timer in (self._steady, self._gaps):
            if timer is not None:
                timer.cancel()
        self._steady = self._gaps = None


def _is_layer(rid: str) -> bool:
    return _LAYER.fullmatch(rid) is not None


def _area(source: Source) -> int:
    return source.track.width * source.track.height if source.track is not None else 0


def _repaired(agreement: Agreement) -> dict[int, int]:
    """SSRC of retransmissions to that of what they repair, as far as the offer says (a=ssrc-group:FID)."""
    found: dict[int, int] = {}
    for section in agreement.sections:
        for semantics, ssrcs in section.offered.groups:
            with suppress(ValueError):
                first, second = ssrcs
                if semantics == "FID":
                    found[second] = first
    return found
