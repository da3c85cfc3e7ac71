"""The target of `bin/fuzz`: any bytes, in any fragments, give events or a ProtocolError, and bounded memory.

The first byte of an input says what it is for: a conversation over RTMP, with media going through to samples, one codec
header, or the datagrams of an RTP stream, through the jitter buffer to frames.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import atheris

with atheris.instrument_imports(include=["media"]):
    from media.ingest.intake import Intake
    from media.protocols import aac, amf, av1, h26x, opus, sdp, stun, vp9
    from media.protocols.errors import ProtocolError
    from media.protocols.rtmp.chunks import Message
    from media.protocols.rtmp.client import RtmpClient, Target
    from media.protocols.rtmp.connection import Metadata, PublishRequested, RtmpConnection
    from media.protocols.rtp import packet, rtcp, rtx, vp8
    from media.protocols.rtp.av1 import Av1Depacketizer
    from media.protocols.rtp.bandwidth import BandwidthEstimator
    from media.protocols.rtp.clock import SenderClock
    from media.protocols.rtp.feedback import TransportFeedback
    from media.protocols.rtp.h264 import H264Depacketizer
    from media.protocols.rtp.jitter import JitterBuffer
    from media.protocols.rtp.opus import OpusDepacketizer
    from media.protocols.rtp.packet import RtpPacket
    from media.protocols.rtp.rtcp import Rtcp, SenderReport
    from media.protocols.rtp.twcc import ArrivalLog, SendLog
    from media.protocols.rtp.vp9 import Vp9Depacketizer

from media.samples import Sample, Track
from tests.media.protocols.wire import C0C1, C2, publish

LIMIT = 1 << 20
READERS = (
    h26x.parse_avcc,
    h26x.parse_hvcc,
    av1.parse_av1c,
    vp9.parse_vpcc,
    vp9.key_frame_size,
    aac.parse_asc,
    opus.parse_head,
    amf.decode,
    amf.decode_envelope,
    stun.parse,
    sdp.Description.parse,
    sdp.Fragment.parse,
    h26x.parse_sps,
    h26x.parameter_sets,
    av1.build_av1c,
    packet.parse,
    rtcp.parse,
)
DEPACKETIZERS = (H264Depacketizer, Vp9Depacketizer, Av1Depacketizer)
MAX_FRAME = 4096


class Rising:
    """A publisher that holds the promise of ingest: decode times rise strictly within a configuration."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}

    def track(self, track: Track) -> None:
        assert track.timescale > 0
        if track.id == 2:
            self.last.pop(2, None)

    def samples(self, batch: Sequence[Sample]) -> None:
        for sample in batch:
            assert sample.dts > self.last.get(sample.track, -1)
            assert sample.pts >= 0
            assert sample.data
            self.last[sample.track] = sample.dts

    def restart(self) -> None:
        pass

    def close(self, reason: str, *, clean: bool) -> None:
        pass


def converse(data: bytes, step: int, greeting: bytes) -> None:
    connection = RtmpConnection(max_message=LIMIT, max_buffered=LIMIT)
    intake = Intake(Rising())
    pieces = [greeting, *(data[at : at + step] for at in range(0, len(data), step))]
    for piece in pieces:
        rest = piece
        while True:
            for event in connection.receive(rest):
                if isinstance(event, PublishRequested):
                    connection.accept()
                elif isinstance(event, Metadata):
                    intake.metadata(event.values)
                elif isinstance(event, Message):
                    (intake.video if event.type == 9 else intake.audio)(event.timestamp, event.payload)
            assert connection.buffered <= LIMIT
            connection.take_output()
            if not connection.backlog:
                break
            rest = b""
        intake.flush()


def publish_to(data: bytes, step: int, greeting: bytes) -> None:
    """A server that says all this to us as its publisher."""
    client = RtmpClient(Target("live", "rtmp://x/live", "secret"))
    for piece in [greeting, *(data[at : at + step] for at in range(0, len(data), step))]:
        rest = piece
        while True:
            for event in client.receive(rest):
                assert "secret" not in str(event)
            assert len(client.take_output()) < LIMIT
            if not client.backlog:
                break
            rest = b""


class RtpSession:
    """One peer's datagrams, as they come out of SRTP: reports and feedback, media, retransmissions."""

    def __init__(self, kind: int) -> None:
        self.now = 0.0
        self.media = DEPACKETIZERS[kind % 3](max_frame=MAX_FRAME)
        self.sound = OpusDepacketizer()
        self.jitter = JitterBuffer(90_000, capacity=64, max_wait=0.2)
        self.arrivals = ArrivalLog(sender=1)
        self.log = SendLog(64)
        self.estimator = BandwidthEstimator()
        self.clock = SenderClock().source(90_000)
        self.map = packet.ExtensionMap({packet.TRANSPORT_CC: 1, packet.MID: 2, packet.AUDIO_LEVEL: 3})
        self.retransmissions = bool(kind & 8)

    def datagram(self, data: bytes) -> None:
        self.now += 0.01
        self.log.sent(self.now, 1200)
        if packet.is_rtcp(data):
            for message in rtcp.parse(data):
                self.control(message)
            return
        found: RtpPacket | None = packet.parse(data)
        if found is not None and self.retransmissions and found.payload_type & 1:
            found = rtx.unwrap(found, payload_type=96, ssrc=1)
        if found is None:
            return
        self.map.read(found)
        self.arrivals.arrived(self.map.transport_sequence(found) & 0xFFFF, self.now)
        vp8.starts_key(found.payload)
        ready = [*self.jitter.push(found, self.now), *self.jitter.expire(self.now)]
        assert self.jitter.held <= 64
        self.jitter.nacks(self.now)
        for one in ready:
            self.clock.position(one.timestamp, self.now)
            for frame in (*self.media.push(one), *self.sound.push(one)):
                assert frame.data
                assert len(frame.data) <= MAX_FRAME + 64
            assert len(self.media._body) <= MAX_FRAME + 64

    def control(self, message: Rtcp) -> None:
        if isinstance(message, SenderReport):
            self.clock.report(message, self.now)
        elif isinstance(message, TransportFeedback):
            self.estimator.feedback(self.log.acknowledged(message), self.now)
        assert self.estimator.estimate > 0

    def close(self) -> None:
        self.jitter.flush()
        self.jitter.report(1).build()
        for message in self.arrivals.feedback():
            assert rtcp.parse(message.build()) == [message]


def stream(kind: int, data: bytes) -> None:
    """Each datagram after a byte that tells its length."""
    session = RtpSession(kind)
    at = 0
    while at < len(data):
        size = data[at] + 1
        with contextlib.suppress(ProtocolError):
            session.datagram(data[at + 1 : at + 1 + size])
        at += 1 + size
    session.close()


def one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, body = data[0], data[1:]
    with contextlib.suppress(ProtocolError):
        if kind < 64:
            READERS[kind % len(READERS)](body)
        elif kind < 128:
            stream(kind, body)
        elif kind >= 224:
            publish_to(body[1:], body[0] * 4 + 1, (b"", C0C1 + C2)[kind % 2])
        else:
            greetings = (b"", C0C1 + C2, C0C1 + C2 + publish())
            converse(body[1:], body[0] * 4 + 1, greetings[kind % 3])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
