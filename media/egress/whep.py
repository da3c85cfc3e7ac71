"""One viewer by WebRTC (WHEP, draft-ietf-wish-whep): what a broadcast's feeds make, with headers of the viewer's own.

A Viewer lives from the answer to the offer until its connection is closed. It is given frames on the loop and sends
them at once; what is more than a short burst is spread in time (the frames since the last key frame for one who has
just come, a large key frame), within bounds, and left out when a newer key frame overtakes it. What it cannot send is
lost for this viewer alone: nobody waits for him.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from media.egress.batchlog import BatchLog, split_feedback
from media.egress.clock import ProgrammeClock
from media.egress.feed import Feed, Frame
from media.egress.layers import Chooser, Picture
from media.egress.outgoing import Format, Outgoing
from media.protocols.errors import RtpError
from media.protocols.rtp import rtcp
from media.protocols.rtp.bandwidth import BandwidthEstimator
from media.protocols.rtp.clock import round_trip
from media.samples import VIDEO_TIMESCALE, Codec, Kind, Track

log = logging.getLogger(__name__)

AUDIO_RATE = 48_000
BURST_BYTES = 64 << 10
"""What goes out in one go; more is spread."""
SPREAD_SECONDS = 0.005
LATE_SECONDS = 1.5
"""More than can be sent in this time is not queued: the viewer waits for a key frame."""
SQUEEZED = 90
"""Ticks between frames that are only sent so that later ones can be decoded: 1 ms."""
FRAME_TICKS = 2700
"""Less than the distance of two frames at 30 a second."""
REFRESH_SECONDS = 0.5
"""A viewer's wishes for a key frame are heard this often."""
REPORT_SECONDS = 1.0
UNHEARD_SECONDS = 1.0
"""One who tells of what comes (ten times a second and more) and has fallen silent for so long does not get it."""
REPAIR_SHARE = 0.5
"""Of the picture's bit rate may be sent again."""
REPAIR_LEAST = 64 << 10
"""…but so many bytes a second in any case."""
FASTER = 2.5
"""Once a network has been congested, frames are spread at so many times its estimate."""
CONGESTED_SECONDS = 2.0
"""A network that showed its limit counts as congested so long."""
START_BITRATE = 4_000_000
"""What a network is thought to carry at least until it shows that it does not: viewers begin with the whole picture."""


class Peer(Protocol):
    """The connection: never blocks, never raises for a network that does not take what is sent."""

    def send_rtp_batch(self, packets: Sequence[bytes]) -> None: ...

    def send_rtcp(self, packet: bytes) -> None: ...

    def close(self, reason: str) -> None: ...

    def describe(self) -> dict[str, object]: ...


class Programme(Protocol):
    """The broadcast, as its viewers see it."""

    @property
    def clock(self) -> ProgrammeClock: ...

    def enter(self, viewer: Viewer) -> None: ...

    def leave(self, viewer: Viewer) -> None: ...

    def want_key(self, feed: Feed) -> bool: ...


@dataclass(frozen=True, slots=True)
class Section:
    """One media section as it was agreed. mid_id, transport_id: local ids of header extensions, 0: not used.
    feedback: the viewer tells of every packet (transport-wide congestion control)."""

    mid: str
    formats: Mapping[Codec, Format]
    ssrc: int
    rtx_ssrc: int
    mid_id: int = 0
    transport_id: int = 0


@dataclass(frozen=True, slots=True)
class ViewerOptions:
    """burst_bitrate: bit/s at which what cannot go at once is spread. memory: bytes that are kept to be sent again.
    settle: s from the end of the handshake to the first packet; what comes before the other side has put its new keys
    to use is lost, and with it the key frame."""

    burst_bitrate: float = 30e6
    memory: int = 1 << 20
    settle: float = 0.05


class Viewer:
    """`sections` by kind; `on_gone` is called once, with the reason, when the connection is over."""

    def __init__(
        self,
        programme: Programme,
        sections: Mapping[Kind, Section],
        on_gone: Callable[[Viewer, str], None],
        options: ViewerOptions,
        cname: str,
    ) -> None:
        self.connected = False
        self.closed = False
        self.sections = sections
        self.feed: Feed | None = None
        """Where the picture comes from."""
        self.next_feed: Feed | None = None
        """Where it will come from at that feed's next key frame."""
        self.chooser: Chooser | None = None
        self.estimator = BandwidthEstimator(start=START_BITRATE)
        self.silent = False
        """He told of what came, and has stopped: gone, more likely than on a thin line."""
        self.skipped = 0
        """Frames of the picture that were not sent to this viewer."""
        self._programme = programme
        self._on_gone = on_gone
        self._options = options
        self._cname = cname.encode()
        self._peer: Peer | None = None
        self._video = self._outgoing(Kind.VIDEO, VIDEO_TIMESCALE)
        self._audio = self._outgoing(Kind.AUDIO, AUDIO_RATE)
        self._log = BatchLog()
        self._feedback = False
        self._heard_at = 0.0
        self._told = 0  # the highest number that a receiver report told of
        self._formatted: Track | None = None
        self._sent_as: Format | None = None
        """What the picture's track `_formatted` is sent as, None when it cannot be."""
        self._waiting = True
        self._backlog: deque[tuple[Frame, int, int]] = deque()  # frame, its time, packets of it that are out
        self._backlog_bytes = 0
        self._rate = options.burst_bitrate
        """What may be sent at most, bit/s."""
        self._tokens = float(BURST_BYTES)
        self._filled_at = 0.0
        self._spread: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._refreshed_at = -1e9
        self._reported_at = -1e9
        self._repair = float(REPAIR_LEAST)
        self._repaired_at = 0.0

    def attach(self, peer: Peer) -> None:
        self._peer = peer

    def close(self, reason: str) -> None:
        """Say good-bye and hang up. Safe to call twice."""
        peer = self._peer
        if self.closed or peer is None:
            return
        if self.connected:
            sources = tuple(out.ssrc for out in (self._video, self._audio) if out is not None)
            peer.send_rtcp(rtcp.compound([rtcp.ReceiverReport(sources[0]), rtcp.Bye(sources, reason.encode()[:100])]))
        peer.close(reason)
        self.on_closed(reason)  # also when the peer was closed already

    def failed(self) -> None:
        self.close("the server made a mistake")

    def wants(self, kind: Kind, codec: Codec) -> bool:
        """Whether the viewer can be sent that codec."""
        section = self.sections.get(kind)
        return section is not None and codec in section.formats

    # the peer's handler

    def on_connected(self) -> None:
        if self.closed or self.connected:
            return
        self.connected = True
        if self._options.settle:
            self._settling = asyncio.get_running_loop().call_later(self._options.settle, self._programme.enter, self)
        else:
            self._programme.enter(self)

    def on_rtp(self, packet: bytes, arrival: float) -> None:
        """Viewers send none."""

    def on_rtcp(self, packet: bytes) -> None:
        now = time.monotonic()
        try:
            feedback, rest = split_feedback(packet)
            for body in feedback:
                told = self._log.told(body)
                self._feedback, self.silent = True, False
                self._heard_at = now
                self.estimator.feedback(told.came, now, lost=told.lost, told=told.packets)
            parts = rtcp.parse(rest) if rest else []
        except RtpError:
            return
        for part in parts:
            if isinstance(part, rtcp.Nack):
                self._again(part, now)
            elif isinstance(part, rtcp.Pli):
                self._wish(part.source, now)
            elif isinstance(part, rtcp.Fir):
                for ssrc, _ in part.entries:
                    self._wish(ssrc, now)
            elif isinstance(part, rtcp.Remb):
                self.estimator.remb(part.bitrate, now)
            elif isinstance(part, rtcp.ReceiverReport | rtcp.SenderReport):
                self._reported(part.blocks, now)
        self._limit()

    def on_closed(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._drop_backlog()
        if self._settling is not None:
            self._settling.cancel()
        self._programme.leave(self)
        self._on_gone(self, reason)

    # what the programme calls

    def watch(self, feed: Feed, now: float) -> None:
        """The picture comes from this feed: at once when it has the frames since its last key frame."""
        self.feed, self.next_feed = feed, None
        self._waiting = True
        self._drop_backlog()
        if not self._catch_up(feed, now):
            self._programme.want_key(feed)

    def switch(self, feed: Feed) -> None:
        """To another rendition, at its next key frame."""
        self.next_feed = None if feed is self.feed else feed
        if self.next_feed is not None:
            self._programme.want_key(feed)

    def lost(self, feed: Feed) -> None:
        """The feed began anew, or is interrupted: it goes on with a key frame."""
        if feed is self.feed:
            self._waiting = True

    def take(self, frame: Frame, now: float) -> None:
        if self.closed or not self.connected:
            return
        feed = frame.feed
        if feed.kind is Kind.AUDIO:
            self._sound(frame, now)
            return
        if feed is not self.feed:
            if feed is not self.next_feed or not frame.key:
                return
            self.feed, self.next_feed = feed, None
            self._waiting = False
        elif self._waiting:
            if not frame.key:
                return
            self._waiting = False
        picture = self.chooser.choice.picture if self.chooser is not None else Picture.FULL
        if picture is not Picture.FULL and not (picture is Picture.KEYS and frame.key):
            self.skipped += 1
            self._waiting = True
            return
        self._picture(frame, now)

    def congested(self, now: float) -> bool:
        """Whether the way to this viewer has shown its limit just now."""
        return now - self.estimator.decreased < CONGESTED_SECONDS

    def tick(self, now: float) -> None:
        """A few times a second."""
        if self._feedback and now - self._heard_at > UNHEARD_SECONDS and self._log.sent_since(self._heard_at):
            self._heard_at, self.silent = now, True
            self.estimator.unheard(now)
            self._limit()
        if now - self._reported_at >= REPORT_SECONDS:
            self._report(now)

    # sending

    def _sound(self, frame: Frame, now: float) -> None:
        out, section = self._audio, self.sections.get(Kind.AUDIO)
        if out is None or section is None:
            return
        format = section.formats.get(Codec.OPUS)
        if format is not None:
            self._send(out, frame.payloads, frame.size, frame.ts, format, now, last=False)

    def _picture(self, frame: Frame, now: float) -> None:
        out = self._video
        if out is None:
            return
        ts = frame.ts if out.last_ts is None or frame.ts > out.last_ts else out.last_ts + 1
        if self._backlog:
            if frame.key:  # what waits is older than a whole new picture
                self._drop_backlog()
            else:
                self._queue(frame, max(ts, self._backlog[-1][1] + 1), now)
                return
        self._fill(now)
        if frame.size <= self._tokens:
            self._tokens -= frame.size
            format = self._format(frame)
            if format is not None:
                self._send(out, frame.payloads, frame.size, ts, format, now)
        else:
            self._queue(frame, ts, now)

    def _send(
        self,
        out: Outgoing,
        payloads: Sequence[bytes],
        size: int,
        ts: int,
        format: Format,
        now: float,
        *,
        last: bool = True,
    ) -> None:
        packets = out.build(payloads, size, ts, format, self._log.next, last=last)
        if out.numbered:
            self._log.sent(now, len(packets), size + len(packets) * out.overhead)
        assert self._peer is not None
        self._peer.send_rtp_batch(packets)

    def _format(self, frame: Frame) -> Format | None:
        track = frame.feed.track
        if track is not self._formatted:
            section = self.sections.get(Kind.VIDEO)
            self._formatted = track
            self._sent_as = section.formats.get(track.codec) if section is not None and track is not None else None
        return self._sent_as

    # spreading what is too much at once

    def _catch_up(self, feed: Feed, now: float) -> bool:
        """Send the frames since the last key frame, squeezed in time so that the picture is at the live edge at once.
        False when there are none, or too much to be worth it."""
        gop, out = feed.gop, self._video
        if not gop or out is None or 8 * sum(frame.size for frame in gop) > self._rate * LATE_SECONDS:
            return False
        edge, count = gop[-1].ts, len(gop)
        step, first = SQUEEZED, edge - (count - 1) * SQUEEZED
        if out.last_ts is not None and first <= out.last_ts:
            first = out.last_ts + 1
            step = min(SQUEEZED, max(1, (max(edge - first, 0) + FRAME_TICKS) // count))
        self._drop_backlog()
        for i, frame in enumerate(gop):
            self._backlog.append((frame, first + i * step, 0))
            self._backlog_bytes += frame.size
        self._waiting = False
        self._drain()
        return True

    def _queue(self, frame: Frame, ts: int, now: float) -> None:
        if 8 * (self._backlog_bytes + frame.size) > self._rate * LATE_SECONDS and not frame.key:
            # it does not get through: rather nothing than ever more delay
            self.skipped += len(self._backlog) + 1
            self._drop_backlog()
            self._waiting = True
            if frame.feed is self.feed:
                self._programme.want_key(frame.feed)
            return
        self._backlog.append((frame, ts, 0))
        self._backlog_bytes += frame.size
        if self._spread is None:
            self._drain()

    def _drain(self) -> None:
        self._spread = None
        backlog, out = self._backlog, self._video
        if self.closed or out is None:
            return
        now = time.monotonic()
        self._fill(now)
        while backlog:
            frame, ts, done = backlog[0]
            payloads = frame.payloads
            stop, size = done, 0
            while stop < len(payloads) and size < self._tokens:
                size += len(payloads[stop])
                stop += 1
            if stop == done:
                break
            self._tokens -= size
            self._backlog_bytes -= size
            format = self._format(frame)
            if format is not None:
                self._send(out, payloads[done:stop], size, ts, format, now, last=stop == len(payloads))
            if stop < len(payloads):
                backlog[0] = (frame, ts, stop)
                break
            backlog.popleft()
        if backlog:
            self._spread = asyncio.get_running_loop().call_later(SPREAD_SECONDS, self._drain)

    def _drop_backlog(self) -> None:
        self._backlog.clear()
        self._backlog_bytes = 0
        if self._spread is not None:
            self._spread.cancel()
            self._spread = None

    def _fill(self, now: float) -> None:
        self._tokens = min(BURST_BYTES, self._tokens + (now - self._filled_at) * self._rate / 8)
        self._filled_at = now

    def _limit(self) -> None:
        """The estimate has changed, and with it what may be sent at most."""
        if self.estimator.decreased > 0:
            self._rate = min(self._options.burst_bitrate, FASTER * self.estimator.estimate)

    # what the viewer tells and asks for

    def _reported(self, blocks: Sequence[rtcp.ReportBlock], now: float) -> None:
        """Receiver reports: how long a packet takes and, where nothing better is told, how many are lost."""
        out = self._video or self._audio
        block = next((block for block in blocks if out is not None and block.ssrc == out.ssrc), None)
        if block is None:
            return
        clock = self._programme.clock
        trip = round_trip(block, clock.ntp(clock.now()))
        if trip is not None:
            self.estimator.rtt(trip)
        told, self._told = self._told, block.highest
        if not self._feedback and 0 < block.highest - told < 1 << 15:
            self.estimator.reported_loss(block.fraction / 256, block.highest - told, now)

    def _again(self, nack: rtcp.Nack, now: float) -> None:
        out = next((o for o in (self._video, self._audio) if o is not None and o.ssrc == nack.source), None)
        peer = self._peer
        if out is None or peer is None or not self.connected:
            return
        rate = self.feed.bitrate / 8 * REPAIR_SHARE if self.feed is not None else 0.0
        most = max(rate, REPAIR_LEAST)
        self._repair = min(most, self._repair + (now - self._repaired_at) * most)
        self._repaired_at = now
        packets = []
        for sequence in nack.sequences:
            if self._repair <= 0:
                break
            found = out.again(sequence, self._log.next)
            if found is None:
                continue
            packet, is_new = found
            self._repair -= len(packet)
            if is_new and out.numbered:
                self._log.sent(now, 1, len(packet))
            packets.append(packet)
        if packets:
            peer.send_rtp_batch(packets)

    def _wish(self, ssrc: int, now: float) -> None:
        """The viewer cannot go on without a key frame: from the publisher if it can make one, else what is kept."""
        out, feed = self._video, self.feed
        if out is None or feed is None or ssrc != out.ssrc or now - self._refreshed_at < REFRESH_SECONDS:
            return
        self._refreshed_at = now
        if self._backlog or self._waiting or out.last_ts is None:
            return  # a key frame is under way
        if not self._programme.want_key(feed):
            self._catch_up(feed, now)

    def _report(self, now: float) -> None:
        peer = self._peer
        if peer is None or not self.connected or self.closed:
            return
        self._reported_at = now
        for out in (self._video, self._audio):
            if out is not None and (report := out.report(self._programme.clock)) is not None:
                named = rtcp.Description(((out.ssrc, ((rtcp.CNAME, self._cname),)),))
                peer.send_rtcp(rtcp.compound([report, named]))

    def _outgoing(self, kind: Kind, rate: int) -> Outgoing | None:
        section = self.sections.get(kind)
        if section is None:
            return None
        return Outgoing(
            ssrc=section.ssrc,
            rtx_ssrc=section.rtx_ssrc,
            rate=rate,
            mid=section.mid,
            mid_id=section.mid_id,
            transport_id=section.transport_id,
            first=secrets.randbelow(1 << 15),
            shift=secrets.randbits(32),
            memory=self._options.memory,
        )

    def describe(self) -> dict[str, object]:
        return {
            "connected": self.connected,
            "rendition": self.feed.name if self.feed is not None else None,
            "picture": self.chooser.choice.picture.name.lower() if self.chooser is not None else None,
            "estimate": self.estimator.estimate,
            "skipped": self.skipped,
            "repeated": sum(out.repeated for out in (self._video, self._audio) if out is not None),
            "packets": sum(out.packets for out in (self._video, self._audio) if out is not None),
            "waiting_bytes": self._backlog_bytes,
        }
