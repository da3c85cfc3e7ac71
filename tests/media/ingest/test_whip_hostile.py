"""A publisher by WebRTC who has proven himself and then sends nonsense, through his real session."""

from __future__ import annotations

import logging
import random

import pytest

from media.ingest.gate import PublishRequest
from media.ingest.whip import WhipLink, WhipOptions
from media.protocols.h26x import parse_avcc
from media.protocols.rtp import packet, rtcp, rtx
from media.protocols.rtp.h264 import H264Packetizer
from media.protocols.sdp import Description
from media.rtc.dtls import Identity
from media.rtc.offer import Wanted, take
from media.rtc.options import RtcOptions
from media.rtc.port import RtcPort
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from tests.media.egress.receivers import Receiver
from tests.media.ingest.conftest import OpenGate
from tests.media.ingest.test_whip import AUDIO, AVCC, IDR, OFFER, RTX, SLICE, VIDEO
from tests.support import eventually


class Publisher:
    """The other side of a link, with a real session."""

    def __init__(self, port: RtcPort, gate: OpenGate, identity: Identity) -> None:
        agreement = take(Description.parse(OFFER), [Wanted(Codec.H264), Wanted(Codec.OPUS)], receive=True)
        self.gone: list[WhipLink] = []
        self.link = WhipLink(gate, agreement, WhipOptions(wait=0.1), "192.0.2.1", self.gone.append)
        self.peer = port.peer(self.link, name="a publisher")
        self.wire = Receiver(identity, self.peer, port)
        self._track = Track(1, Codec.H264, VIDEO_TIMESCALE, AVCC, parse_avcc(AVCC).codec_string)
        self._sequence = 0

    async def connect(self, gate: OpenGate, identity: Identity) -> None:
        asked = PublishRequest("whip", "key", "192.0.2.1", "test", self.link)
        self.link.begin(asked, await gate.admit(asked), self.peer)
        self.peer.connect(Receiver.parameters(identity))
        self.wire.start()
        await eventually(lambda: self.link.connected and self.wire.connected)

    def packets(self, number: int, *, key: bool = False) -> list[bytes]:
        """A picture, and what else a publisher says about that time."""
        made = []
        payloads = H264Packetizer(self._track).payloads(
            Sample(1, number * 3000, number * 3000, key, IDR if key else SLICE)
        )
        for payload in payloads:
            self._sequence += 1
            made.append(
                packet.build(
                    payload, payload_type=96, sequence=self._sequence & 0xFFFF, timestamp=number * 3000, ssrc=VIDEO,
                    marker=payload is payloads[-1],
                )
            )  # fmt: skip
        return made

    def say(self, packets: list[bytes]) -> None:
        for one in packets:
            self.wire.say(self.wire.protected(one))


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_a_publisher_sends_harms_nobody(gate: OpenGate, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    port, identity, chance = RtcPort(RtcOptions(rtc_port=0, rtc_host="127.0.0.1")), Identity(), random.Random(seed)
    await port.start()
    bad, good = Publisher(port, gate, identity), Publisher(port, gate, identity)
    try:
        await bad.connect(gate, identity)
        await good.connect(gate, identity)
        mine = gate.publishers[-1]
        for number in range(120):
            good.say(good.packets(number, key=number % 30 == 0))
            seeds = [
                *bad.packets(number, key=number % 3 == 0),
                packet.build(b"\xfc12345", payload_type=111, sequence=number, timestamp=number * 960, ssrc=AUDIO),
                packet.build(
                    rtx.payload(number, b"\x41\x9abbbb"), payload_type=97, sequence=number, timestamp=1, ssrc=RTX
                ),
                rtcp.SenderReport(VIDEO, number << 32, number * 3000, number, number).build(),
                rtcp.Bye((VIDEO,)).build(),
            ]
            for _ in range(8):
                said = bytearray(chance.choice(seeds))
                for _ in range(chance.randrange(4)):
                    said[chance.randrange(len(said))] = chance.randrange(256)
                bad.wire.say(bad.wire.protected(bytes(said[: chance.randrange(8, len(said) + 1)])))
            bad.say(seeds[:1])
            await eventually(lambda count=number + 1: len(mine.of(1)) == count)
        assert bad.peer.received_packets > 300
        assert good.gone == []
        assert bad.gone == [] or bad.link.closed
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    finally:
        bad.link.end("over")
        good.link.end("over")
        await port.close()
        bad.wire.close()
        good.wire.close()
    await eventually(lambda: bad.gone and good.gone)
    assert all(publisher.closed is not None for publisher in gate.publishers)
