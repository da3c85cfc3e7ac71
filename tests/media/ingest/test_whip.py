"""A publisher by WebRTC without its network: what its sender is told for what it sends."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from media.broadcast import Broadcast
from media.ingest.gate import PublishRequest
from media.ingest.whip import WhipLink, WhipOptions
from media.ingest.whip_intake import MAX_CHANGES, WhipIntake
from media.protocols.errors import MediaError
from media.protocols.h26x import parse_avcc
from media.protocols.rtp import packet, rtcp, rtx
from media.protocols.rtp.feedback import TransportFeedback
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.h264 import H264Packetizer
from media.protocols.sdp import Description
from media.rtc.offer import Wanted, take
from media.samples import VIDEO_TIMESCALE, Codec, Kind, Sample, Track
from tests.media.egress.conftest import OPUS as AUDIO_TRACK
from tests.media.ingest.conftest import OpenGate, Recorder
from tests.media.test_broadcast import Log, request
from tests.media.transcode.test_sounds import Take
from tests.support import eventually

OFFERS = Path(__file__).parents[1] / "rtc" / "offers"
OFFER = (OFFERS / "obs.sdp").read_bytes()
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


def test_a_size_that_changes_all_the_time_ends_nothing() -> None:
    """A browser follows its network; what is too much for those who watch is left out until the minute is over."""
    now = 0.0
    publisher = Recorder()
    intake = WhipIntake(publisher, clock=lambda: now)
    described = parse_avcc(AVCC)
    sizes = [Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, described.codec_string, 320 + n, 180) for n in range(100)]
    for number, track in enumerate(sizes):
        now = number * 0.5
        assert intake.picture(track, now, Frame(number * 45_000, IDR, key=True))
    assert publisher.tracks == sizes[:MAX_CHANGES]
    assert len(publisher.of(1)) == MAX_CHANGES
    assert intake.picture(sizes[-1], now + 0.1, Frame(0, SLICE, key=False)) is False  # and a key frame is asked for
    now = 200.0
    assert intake.picture(sizes[-1], now, Frame(0, IDR, key=True))
    assert publisher.tracks == [*sizes[:MAX_CHANGES], sizes[-1]]


async def test_simulcast_layers_are_renditions_on_the_same_clock() -> None:
    broadcast = Broadcast("b", Log())
    session = broadcast.open(request())
    intake = WhipIntake(session)
    large = Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, "avc1", 960, 540)
    small = replace(large, width=480, height=270)
    session.track(AUDIO_TRACK)
    key, other = Frame(0, IDR, key=True), Frame(0, SLICE, key=False)
    assert intake.layer("m", small, 10.0, other)  # before the picture itself there is no clock to be on
    assert intake.picture(large, 10.0, key)
    assert not intake.layer("m", small, 10.01, other)
    assert intake.layer("m", small, 10.04, key)
    layer = broadcast.derived["m"]
    assert layer.listed
    assert layer.current == small
    take = Take()
    layer.add(take)
    assert intake.picture(large, 10.08, other)
    assert intake.layer("m", small, 10.08, other)
    assert intake.layer("m", small, 10.08, other)
    start = take.samples[0].pts
    assert [sample.pts - start for sample in take.samples] == [0, 1]
    assert intake.picture(large, 10.12, key)
    assert intake.layer("m", small, 10.12, key)
    assert broadcast.last_key is not None
    assert take.samples[-1].pts == broadcast.last_key[1].pts  # cut at the same moment
    assert not intake.layer("m", small, 999.0, other) or take.samples[-1].pts < 999 * VIDEO_TIMESCALE
    session.restart()  # another timeline: it begins anew, with a key frame
    assert intake.picture(large, 10.16, key)
    assert not intake.layer("m", small, 10.2, other)
    assert intake.layer("m", small, 10.24, key)
    assert take.interrupted == 1
    assert len(take.tracks) == 2
    intake.end_layer("m")
    assert take.ended
    intake.layer("l", small, 10.28, key)
    session.close("gone", clean=True)
    assert not broadcast.derived


def test_b_frames_are_refused_in_words() -> None:
    publisher = Recorder()
    intake = WhipIntake(publisher, clock=lambda: 0.0)
    track = Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, parse_avcc(AVCC).codec_string, 320, 180)

    def show(*numbers: int) -> None:
        for number in numbers:
            intake.picture(track, number / 30, Frame(number * 3000, IDR if number == 0 else SLICE, key=number == 0))

    show(0, 1, 2, 3, 0, 1)
    with pytest.raises(MediaError, match="B-frames"):
        show(0, 4, 2, 1, 3, 8, 6, 5, 7)


async def test_what_came_when_is_told_while_it_comes(gate: OpenGate) -> None:
    """Also by a loop that is too busy for its timers."""
    offer = Description.parse((OFFERS / "chromium-whip.sdp").read_bytes())
    agreement = take(offer, [Wanted(Codec.H264), Wanted(Codec.OPUS)], receive=True)
    section = agreement.of(Kind.VIDEO)
    assert section is not None
    link = WhipLink(gate, agreement, WhipOptions(), "192.0.2.1", lambda _: None)
    wire = Wire(link)
    asked = PublishRequest("whip", "key", "192.0.2.1", "test", link)
    link.begin(asked, await gate.admit(asked), wire)
    began = time.monotonic()
    for number in range(31):
        numbered = packet.build(
            b"\x41",
            payload_type=section.formats[0].format.payload_type,
            sequence=number,
            timestamp=0,
            ssrc=VIDEO,
            extension=packet.build_extension({section.extensions[packet.TRANSPORT_CC]: number.to_bytes(2, "big")}),
        )
        link.on_rtp(numbered, began + number * 0.01)
    told = [message for message in wire.told if isinstance(message, TransportFeedback)]
    assert sum(len(message.deltas) for message in told) > 24
    assert max(len(message.deltas) for message in told) <= 7
    wire.close("the test is over")


@pytest.mark.parametrize("wire", [0.2], indirect=True)
async def test_one_that_sends_no_media_is_closed(wire: Wire) -> None:
    await eventually(lambda: wire.closed, within=10)
    assert "no media came" in wire.closed
