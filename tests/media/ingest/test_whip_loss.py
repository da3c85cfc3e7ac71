"""What a network that loses packets does to a publisher by WebRTC: sender, network and server on one clock that is made
up, so that the same happens each time and is judged by what was recorded.

--log-cli-level=INFO shows the figures of each loss."""

from __future__ import annotations

import heapq
import itertools
import logging
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from media.ingest import whip
from media.ingest.gate import PublishRequest
from media.ingest.whip import WhipLink, WhipOptions
from media.protocols.h26x import parse_avcc
from media.protocols.rtp import packet, rtcp, rtx
from media.protocols.rtp.h264 import H264Packetizer
from media.protocols.sdp import Description
from media.rtc.offer import Wanted, take
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from tests.media.ingest.conftest import OpenGate, Recorder

log = logging.getLogger(__name__)

OFFER = (Path(__file__).parents[1] / "rtc" / "offers" / "obs.sdp").read_bytes()
AVCC = bytes.fromhex("0164001fffe1000a6764001facb402800b7601000468ef3cb0")
VIDEO, AUDIO, RTX = 1667834732, 1667834731, 1667834733
SECONDS, FPS = 12, 30
FRAME, KEY_FRAME = 10_000, 40_000
"""Bytes: 2.5 Mbit/s."""
DELAY, LATE, SWAPPED = 0.02, 0.015, 0.05
"""Of the network, each way, s; one packet in twenty is later than the next ones."""


class Clock:
    """Time that passes when somebody waits for it; stands for `time` and the loop of the module that is tested."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._due: list[tuple[float, int, SimpleNamespace]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def get_running_loop(self) -> Clock:
        return self

    def call_later(self, delay: float, call: Callable[..., None], *words: object) -> SimpleNamespace:
        handle = SimpleNamespace(cancelled=False, call=lambda: call(*words))
        handle.cancel = lambda: setattr(handle, "cancelled", True)
        heapq.heappush(self._due, (self.now + delay, next(self._order), handle))
        return handle

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, handle = heapq.heappop(self._due)
            if not handle.cancelled:
                handle.call()
        self.now = end


class Sender:
    """A browser behind a network: it numbers its frames, sends again what is asked for, and key frames when asked."""

    def __init__(self, clock: Clock, link: WhipLink, loss: float) -> None:
        self.clock = clock
        self.link = link
        self.loss = loss
        self.chance = random.Random(7)
        self.heard = clock.now
        self.closed = ""
        self.frames = self.packets = self.lost = self.sounds = 0
        self.asked_key = False
        self._sequence, self._rtx_sequence = 65_000, 100
        self._sent: dict[int, tuple[bytes, int, bool]] = {}
        track = Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, parse_avcc(AVCC).codec_string)
        self._packetizer = H264Packetizer(track)

    def through(self, deliver: Callable[..., None], *words: object) -> None:
        if self.chance.random() < self.loss:
            self.lost += 1
            return
        late = LATE if self.chance.random() < SWAPPED else 0.0
        self.clock.call_later(DELAY + late, deliver, *words)

    # the peer, as the server sees it

    def send_rtcp(self, data: bytes) -> None:
        self.through(self._hear, data)

    def close(self, reason: str) -> None:
        self.closed = self.closed or reason

    # the browser

    def _hear(self, data: bytes) -> None:
        for message in rtcp.parse(data):
            if isinstance(message, rtcp.Pli):
                self.asked_key = True
            elif isinstance(message, rtcp.Nack) and message.source == VIDEO:  # browsers keep no sound
                for sequence in message.sequences:
                    payload, timestamp, marker = self._sent[sequence]
                    self._rtx_sequence += 1
                    again = rtx.payload(sequence, payload)
                    self._rtp(97, RTX, self._rtx_sequence, timestamp, again, marker=marker)

    def picture(self) -> None:
        number, self.frames = self.frames, self.frames + 1
        key, self.asked_key = self.asked_key or not number, False
        unit = bytes((0x65 if key else 0x41, 0x88)) + number.to_bytes(4, "big") + bytes(KEY_FRAME if key else FRAME)
        sample = Sample(1, number * 3000, number * 3000, key, len(unit).to_bytes(4, "big") + unit)
        payloads = self._packetizer.payloads(sample)
        for payload in payloads:
            self._sequence = (self._sequence + 1) & 0xFFFF
            marker = payload is payloads[-1]
            self._sent[self._sequence] = payload, sample.dts, marker
            self._rtp(96, VIDEO, self._sequence, sample.dts, payload, marker=marker)
        if self.frames < SECONDS * FPS:
            self.clock.call_later(1 / FPS, self.picture)

    def sound(self) -> None:
        number, self.sounds = self.sounds, self.sounds + 1
        self._rtp(111, AUDIO, number & 0xFFFF, number * 960, b"\xfc" + number.to_bytes(4, "big"))
        if self.sounds < SECONDS * 50:
            self.clock.call_later(0.02, self.sound)

    def _rtp(self, kind: int, ssrc: int, number: int, timestamp: int, payload: bytes, *, marker: bool = True) -> None:
        self.packets += 1
        data = packet.build(
            payload, payload_type=kind, sequence=number & 0xFFFF, timestamp=timestamp, ssrc=ssrc, marker=marker
        )
        self.through(self._arrive, data)

    def _arrive(self, data: bytes) -> None:
        self.link.on_rtp(data, self.clock.now)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.1])
def test_what_is_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, loss: float) -> None:
    clock = Clock()
    monkeypatch.setattr(whip, "time", clock)
    monkeypatch.setattr(whip, "asyncio", clock)
    agreement = take(Description.parse(OFFER), [Wanted(Codec.H264), Wanted(Codec.OPUS)], receive=True)
    link = WhipLink(OpenGate(), agreement, WhipOptions(max_ahead=0), "192.0.2.1", lambda _: None)
    sender = Sender(clock, link, loss)
    asked = PublishRequest("whip", "key", "192.0.2.1", "test", link)
    publisher = Recorder(asked)
    link.begin(asked, publisher, sender)
    link.on_connected()
    sender.picture()
    sender.sound()
    clock.run(SECONDS + 1)

    came = [int.from_bytes(sample.data[6:10], "big") for sample in publisher.of(1)]
    heard = [int.from_bytes(s.data[1:5], "big") for s in publisher.of(2) if len(s.data) == 5]
    told = link.describe()
    log.info("loss %.0f %%: %d of %d packets lost, %s", 100 * loss, sender.lost, sender.packets, told)
    log.info("%d of %d pictures, %d of %d of the sound", len(came), sender.frames, len(heard), sender.sounds)
    assert not sender.closed
    assert came == list(range(sender.frames))  # also of a tenth that is lost, twice in a row here and there
    # sound that is lost stays so: browsers do not send it again
    assert heard == sorted(set(heard))
    assert len(heard) >= (1 - 1.5 * loss) * sender.sounds
    assert told["malformed"] == 0
    assert bool(told["recovered"]) == bool(loss)
    # key frames come every two seconds by themselves, and no more often because of loss
    assert sum(s.key for s in publisher.of(1)) <= SECONDS / 2 + 2
    link.end("the test is over")
