"""A stream over a path that loses and reorders: jitter buffer, NACKs, the sender's history, RTX, and whole frames."""

from __future__ import annotations

import heapq
import random

import pytest

from media.protocols.rtp import packet, rtcp, rtx
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.h264 import H264Depacketizer, H264Packetizer, units
from media.protocols.rtp.jitter import JitterBuffer
from media.protocols.rtp.packet import RtpPacket
from media.protocols.rtp.rtcp import Nack
from media.protocols.rtp.rtx import History
from tests.media.protocols.rtp_streams import h264_file, packets

ONE_WAY = 0.02
MEDIA, REPAIR = 77, 78


class Path:
    """Packets one way and NACKs back, each late by ONE_WAY and up to 5 ms more."""

    def __init__(self, loss: float, *, repairs: bool) -> None:
        self.loss = loss
        self.repairs = repairs
        self.noise = random.Random(3)
        self.flying: list[tuple[float, bytes]] = []
        self.asking: list[tuple[float, bytes]] = []
        self.history: History[RtpPacket] = History(1024)
        self.repaired = 0
        self.jitter = JitterBuffer(90_000, max_wait=0.5)
        self.frames: list[Frame] = []
        self.depacketizer = H264Depacketizer()

    def send(self, one: RtpPacket, now: float) -> None:
        if not now:  # what comes before the first packet is never taken: the first frame goes well
            heapq.heappush(self.flying, (ONE_WAY + len(self.flying) * 1e-6, one.build()))
        elif self.noise.random() >= self.loss:
            heapq.heappush(self.flying, (now + ONE_WAY + self.noise.random() / 200, one.build()))

    def run(self, now: float) -> None:
        while self.asking and self.asking[0][0] <= now:
            (nack,) = rtcp.parse(heapq.heappop(self.asking)[1])
            assert isinstance(nack, Nack)
            for sequence, kept in self.history.asked(nack.sequences, now, ONE_WAY):
                again = rtx.payload(sequence, kept.payload)
                self.send(RtpPacket(97, self.repaired & 0xFFFF, kept.timestamp, REPAIR, again, marker=kept.marker), now)
                self.repaired += 1
        while self.flying and self.flying[0][0] <= now:
            at, data = heapq.heappop(self.flying)
            one: RtpPacket | None = packet.parse(data)
            assert one is not None
            repaired = one.ssrc == REPAIR
            if repaired:
                one = rtx.unwrap(one, payload_type=96, ssrc=MEDIA)
                assert one is not None
            self.take(self.jitter.push(one, at, repaired=repaired))
        self.take(self.jitter.expire(now))
        if self.repairs and (wanted := self.jitter.nacks(now, 2 * ONE_WAY)):
            heapq.heappush(self.asking, (now + ONE_WAY, Nack(1, MEDIA, tuple(wanted)).build()))

    def take(self, ready: object) -> None:
        assert isinstance(ready, list | tuple)
        for one in ready:
            self.frames += self.depacketizer.push(one)


def play(path: Path) -> list[tuple[int, list[bytes]]]:
    """What was sent: the timestamp and the slices of each frame."""
    track, samples = h264_file(60, preset="ultrafast", bf="0", g="12")
    packetizer = H264Packetizer(track, payload=600)
    sequence = 65500
    sent = []
    now = 0.0
    for sample in samples:
        payloads = packetizer.payloads(sample)
        for one in packets(payloads, sequence, sample.pts):
            path.history.keep(one.sequence, one)
            path.send(one, now)
        sequence += len(payloads)
        sent.append((sample.pts, slices(sample.data)))
        for _ in range(4):
            now += 1 / 120
            path.run(now)
    for _ in range(100):
        now += 0.01
        path.run(now)
    return sent


def slices(data: bytes) -> list[bytes]:
    return [data[start:end] for start, end in units(data) if data[start] & 31 < 6]


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05, 0.1, 0.3])
def test_retransmissions_bring_every_frame(loss: float) -> None:
    path = Path(loss, repairs=True)
    sent = play(path)
    assert [(frame.timestamp, slices(frame.data)) for frame in path.frames] == sent
    assert path.jitter.lost == path.depacketizer.damaged == 0
    assert (path.jitter.recovered > 0) is (loss > 0)
    assert path.jitter.recovered <= path.repaired == path.history.resent


@pytest.mark.parametrize("loss", [0.001, 0.01])
def test_without_them_frames_are_missing_but_none_is_broken(loss: float) -> None:
    path = Path(loss, repairs=False)
    sent = dict(play(path))
    assert path.jitter.lost > 0
    assert path.depacketizer.damaged > 0
    assert len(path.frames) < len(sent)
    assert all(slices(frame.data) == sent[frame.timestamp] for frame in path.frames)
    assert path.jitter.report(MEDIA).lost == path.jitter.lost
