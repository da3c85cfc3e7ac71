"""A publisher by WebRTC without its network: what its sender is told for what it sends."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media.ingest.gate import PublishRequest
from media.ingest.whip import WhipLink, WhipOptions
from media.protocols.h26x import parse_avcc
from media.protocols.rtp import packet, rtcp, rtx
from media.protocols.rtp.h264 import H264Packetizer
from media.protocols.sdp import Description
from media.rtc.offer import Wanted, take
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from tests.media.ingest.conftest import OpenGate
from tests.support import eventually

OFFER = (Path(__file__).parents[1] / "rtc" / "offers" / "obs.sdp").read_bytes()
AVCC = bytes.fromhex("0164001fffe1000a6764001facb402800b7601000468ef3cb0")
VIDEO, AUDIO, RTX = 1667834732, 1667834731, 1667834733
IDR, SLICE = b"\0\0\0\x06\x65\x88aaaa", b"\0\0\0\x06\x41\x9abbbb"
"""Slices that begin with the first macroblock, as far as anybody looks into them."""


class Wire:
    """The peer, and the sender behind it."""

    def __init__(self, link: WhipLink) -> None:
        self.link = link
        self.heard = time.monotonic()
        self.told: list[rtcp.Rtcp] = []
        self.closed = ""
        described = parse_avcc(AVCC)
        self.track = Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, described.codec_string)
        self.packetizer = H264Packetizer(self.track)
        self.sequence = 65_530
        self.sent: dict[int, tuple[bytes, int]] = {}

    def send_rtcp(self, data: bytes) -> None:
        self.told += rtcp.parse(data)

    def close(self, reason: str) -> None:
        if not self.closed:
            self.closed = reason
            self.link.on_closed(reason)

    def frame(self, number: int, *, key: bool = False, lose: bool = False) -> int:
        """Its last packet's sequence number."""
        sample = Sample(1, number * 3000, number * 3000, key, IDR if key else SLICE)
        payloads = self.packetizer.payloads(sample)
        for payload in payloads:
            self.sequence = (self.sequence + 1) & 0xFFFF
            self.sent[self.sequence] = payload, number * 3000
            if not lose:
                self.rtp(96, VIDEO, self.sequence, number * 3000, payload, marker=payload is payloads[-1])
        return self.sequence

    def again(self, sequence: int) -> None:
        payload, timestamp = self.sent[sequence]
        self.rtp(97, RTX, 7, timestamp, rtx.payload(sequence, payload))

    def rtp(self, kind: int, ssrc: int, sequence: int, timestamp: int, payload: bytes, *, marker: bool = True) -> None:
        built = packet.build(
            payload, payload_type=kind, sequence=sequence, timestamp=timestamp, ssrc=ssrc, marker=marker
        )
        self.link.on_rtp(built, time.monotonic())

    def of(self, kind: type[rtcp.Nack | rtcp.Pli]) -> list[rtcp.Rtcp]:
        return [message for message in self.told if isinstance(message, kind)]


@pytest.fixture
async def wire(gate: OpenGate, request: pytest.FixtureRequest) -> AsyncIterator[Wire]:
    taken = [Wanted(Codec.H264), Wanted(Codec.OPUS)]
    agreement = take(Description.parse(OFFER), taken, receive=True)
    options = WhipOptions(key_seconds=0.3, wait=0.2, idle_timeout=getattr(request, "param", 30.0))
    link = WhipLink(gate, agreement, options, "192.0.2.1", lambda _: None)
    wire = Wire(link)
    asked = PublishRequest("whip", "key", "192.0.2.1", "test", link)
    link.begin(asked, await gate.admit(asked), wire)
    link.on_connected()
    yield wire
    wire.close("the test is over")


async def test_a_missing_packet_is_asked_for_and_its_frame_is_whole(wire: Wire, gate: OpenGate) -> None:
    wire.frame(0, key=True)
    lost = wire.frame(1, lose=True)
    wire.frame(2)
    [nack] = await eventually(lambda: wire.of(rtcp.Nack), within=5)
    assert (nack.source, nack.sequences) == (VIDEO, (lost,))
    wire.again(lost)
    samples = gate.publishers[-1].of(1)
    assert [sample.data for sample in samples] == [IDR, SLICE, SLICE]
    said = wire.link.describe()
    assert (said["recovered"], said["lost"], said["nacks"]) == (1, 0, 1)


async def test_what_does_not_come_again_costs_the_pictures_up_to_a_key_frame(wire: Wire, gate: OpenGate) -> None:
    wire.frame(0, key=True)
    wire.frame(1, lose=True)
    wire.frame(2)
    await eventually(lambda: wire.link.describe()["lost"] == 1, within=5)
    await eventually(lambda: wire.of(rtcp.Pli), within=5)
    wire.frame(3)
    wire.frame(4, key=True)
    assert [sample.key for sample in gate.publishers[-1].of(1)] == [True, True]


async def test_key_frames_are_asked_for_in_time_for_segments(wire: Wire) -> None:
    wire.frame(0, key=True)
    await eventually(lambda: len(wire.of(rtcp.Pli)) >= 2, within=10)


async def test_nonsense_is_counted_and_much_of_it_ends_the_session(wire: Wire, gate: OpenGate) -> None:
    chance = random.Random(5)
    wire.frame(0, key=True)
    for _ in range(400):
        wire.link.on_rtcp(bytes((0x80, chance.randrange(192, 224))) + chance.randbytes(chance.randrange(40)))
        wire.link.on_rtp(bytes((0x90, 96)) + chance.randbytes(chance.randrange(60)), time.monotonic())
        wire.rtp(chance.randrange(128), chance.randrange(1 << 32), 1, 1, chance.randbytes(20))
    for _ in range(600):
        wire.link.on_rtp(b"\x80", time.monotonic())
    assert "could not be read" in wire.closed
    assert gate.turned[-1][1] == wire.closed
    assert wire.link.describe()["connected"] is False


@pytest.mark.parametrize("wire", [0.2], indirect=True)
async def test_one_that_sends_no_media_is_closed(wire: Wire) -> None:
    await eventually(lambda: wire.closed, within=10)
    assert "no media came" in wire.closed
