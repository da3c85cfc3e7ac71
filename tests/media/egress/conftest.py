"""A viewer's other side that only keeps what it is sent, and samples of a picture."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from media.broadcast import Broadcast
from media.egress.outgoing import Format
from media.egress.programme import Programme, Programmes
from media.egress.whep import Section, Viewer, ViewerOptions
from media.ingest.gate import PublishRequest
from media.protocols.h26x import build_avcc
from media.protocols.rtp import packet as rtp
from media.protocols.rtp import rtcp
from media.samples import Codec, Kind, Sample, Track
from tests.media.test_broadcast import FakeLink, Log

SPS = bytes.fromhex("6742c00bd902847e5c0440000003004000000f03c50a92")
"""Of x264's baseline profile, 160 by 120: no B-frames."""
SPS_B = bytes.fromhex("674d400beca1423f2e0220000003002000000781e28532c0")
"""Of its main profile, with B-frames."""
PPS = bytes.fromhex("68cb83cb20")
VIDEO_SSRC, VIDEO_RTX, AUDIO_SSRC = 1111, 2222, 3333
OPUS = Track(2, Codec.OPUS, 48_000, bytes((1, 2, 0, 0)) + (48_000).to_bytes(4, "little") + bytes(3), "opus")


def h264(sps: bytes = SPS) -> Track:
    return Track(1, Codec.H264, 90_000, build_avcc([sps], [PPS]), "avc1.42C00B", 160, 120)


def picture(number: int, *, key: bool = False, size: int = 1400, priority: int = 3, pts: int | None = None) -> Sample:
    """The frame of that number at 30 a second; priority 0: no other frame needs it."""
    unit = bytes((priority << 5 | (5 if key else 1), 0x88)) + number.to_bytes(4, "big") + bytes(size)
    time = 3000 * number
    return Sample(1, time, time if pts is None else pts, key, len(unit).to_bytes(4, "big") + unit)


def sound(number: int) -> Sample:
    return Sample(2, 960 * number, 960 * number, True, b"\xfc" + number.to_bytes(4, "big"), 960)


class FarEnd:
    """A peer that keeps the packets it should send."""

    def __init__(self) -> None:
        self.packets: list[rtp.RtpPacket] = []
        self.raw: list[bytes] = []
        self.rtcp: list[rtcp.Rtcp] = []
        self.closed = ""

    def send_rtp_batch(self, packets: Sequence[bytes]) -> None:
        self.raw += packets
        self.packets += [rtp.parse(bytes(packet)) for packet in packets]

    def send_rtcp(self, packet: bytes) -> None:
        self.rtcp += rtcp.parse(packet)

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason

    def describe(self) -> dict[str, object]:
        return {}

    def of(self, ssrc: int) -> list[rtp.RtpPacket]:
        return [packet for packet in self.packets if packet.ssrc == ssrc]

    def frames(self) -> list[int]:
        """The numbers of the pictures that came, as `picture` wrote them."""
        found = []
        for packet in self.of(VIDEO_SSRC):
            kind = packet.payload[0] & 31
            if kind == 28 and packet.payload[1] & 0x80:
                found.append(int.from_bytes(packet.payload[3:7], "big"))
            elif kind in (1, 5):
                found.append(int.from_bytes(packet.payload[2:6], "big"))
        return found


class Stage:
    """A broadcast with its publisher, and viewers who come."""

    def __init__(self) -> None:
        self.link = FakeLink()
        self.broadcast = Broadcast("b", Log())
        self.programmes = Programmes()
        self.gone: list[str] = []
        self.session = self.publish()

    def publish(self) -> object:
        self.session = self.broadcast.open(PublishRequest("rtmp", "k", "127.0.0.1", "test", self.link))
        self.session.track(h264())
        self.session.track(OPUS)
        return self.session

    @property
    def programme(self) -> Programme:
        return next(programme for programme, _ in self.programmes._running.values())

    def viewer(self, *, rtx: int | None = 97, transport_id: int = 2, **options: float) -> tuple[Viewer, FarEnd]:
        sections = {
            Kind.VIDEO: Section("0", {Codec.H264: Format(96, rtx)}, VIDEO_SSRC, VIDEO_RTX, 1, transport_id),
            Kind.AUDIO: Section("1", {Codec.OPUS: Format(111)}, AUDIO_SSRC, 4444, 1, transport_id),
        }
        programme = self.programmes.hold(self.broadcast)

        def gone(viewer: Viewer, reason: str) -> None:
            self.gone.append(reason)
            self.programmes.release(programme)

        viewer = Viewer(programme, sections, gone, ViewerOptions(settle=0, **options), "cname")
        far = FarEnd()
        viewer.attach(far)
        viewer.on_connected()
        return viewer, far

    def frames(self, first: int, count: int, *, gop: int = 30, **more: int) -> None:
        for number in range(first, first + count):
            self.session.samples([picture(number, key=number % gop == 0, **more)])


@pytest.fixture
def stage() -> Stage:
    return Stage()
