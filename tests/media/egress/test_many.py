"""Viewers with real sessions over the loopback: many of them, some slow, some gone, some hostile."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator

import pytest

from media.egress.outgoing import Format
from media.egress.whep import Section, Viewer, ViewerOptions
from media.protocols.rtp import packet as rtp
from media.protocols.rtp import rtcp
from media.protocols.rtp.twcc import ArrivalLog
from media.rtc.options import RtcOptions
from media.rtc.port import RtcPort
from media.samples import Codec, Kind
from tests.media.egress.conftest import VIDEO_SSRC, Stage
from tests.media.egress.receivers import Hall, Receiver
from tests.support import eventually

MANY = 50
SECTION = Section("0", {Codec.H264: Format(96, 97)}, VIDEO_SSRC, VIDEO_SSRC + 1, 1, 2)


@pytest.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    port = RtcPort(RtcOptions(rtc_port=0, rtc_host="127.0.0.1", rtc_bad_per_address=5))
    await port.start()
    hall = Hall(port, stage.programmes)
    yield hall
    await hall.close()


async def watch(stage: Stage, hall: Hall, count: int) -> list[Receiver]:
    """So many more viewers, who have the picture."""
    made = []
    for _ in range(count):
        programme = stage.programmes.hold(stage.broadcast)

        def gone(viewer: Viewer, reason: str) -> None:
            stage.gone.append(reason)
            stage.programmes.release(programme)  # noqa: B023 it is the same for all

        made.append(hall.receiver(Viewer(programme, {Kind.VIDEO: SECTION}, gone, ViewerOptions(), "cname")))
    await eventually(lambda: all(receiver.connected for receiver in made), what="handshakes")
    await eventually(lambda: len(stage.programme.viewers) == len(hall.receivers), what="viewers who are connected")
    return made


def whole(receiver: Receiver, packets: int) -> bool:
    """Everything came, once and in order."""
    return receiver.numbers(VIDEO_SSRC) == list(range(packets))


async def test_fifty_viewers_get_every_packet_whatever_some_of_them_do(stage: Stage, hall: Hall) -> None:
    receivers = await watch(stage, hall, MANY)
    stage.frames(0, 5)
    await eventually(lambda: all(receiver.packets for receiver in receivers), what="the first pictures of all")
    asleep, lost, greedy, *others = receivers
    asleep.hang()
    lost.close()
    for number in range(5, 65):
        stage.frames(number, 1, size=5000)
        asked = tuple(packet.sequence for packet in greedy.packets[-16:])
        greedy.say(greedy.protected(rtcp.Nack(1, VIDEO_SSRC, asked).build()))
        greedy.say(greedy.protected(rtcp.Pli(1, VIDEO_SSRC).build()))
        await eventually(lambda count=number + 1: len({p.timestamp for p in others[0].packets}) == count)
    sent = len(others[0].packets)
    assert sent > 250
    await eventually(lambda: all(whole(receiver, sent) for receiver in others), what="every packet, in order")
    assert stage.gone == []  # who says nothing is given time
    asleep.go_on()
    stage.frames(65, 1)  # 0x41: its number is in its first bytes
    await eventually(lambda: any(b"\x00\x00\x00\x41" in packet.payload[:8] for packet in asleep.packets))


async def test_what_an_authenticated_viewer_says_harms_nobody(stage: Stage, hall: Hall) -> None:
    bad, good = await watch(stage, hall, 2)
    stage.frames(0, 3)
    await eventually(lambda: bad.packets and good.packets)
    chance, log = random.Random(11), ArrivalLog(sender=1)
    log.arrived(1, 0.1)
    (feedback,) = log.feedback()
    seeds = [
        rtcp.Nack(1, VIDEO_SSRC, (1, 2, 40)).build(),
        rtcp.Pli(1, VIDEO_SSRC).build(),
        rtcp.Fir(1, ((VIDEO_SSRC, 1),)).build(),
        rtcp.Remb(1, 1_000_000, (VIDEO_SSRC,)).build(),
        rtcp.ReceiverReport(1, (rtcp.ReportBlock(VIDEO_SSRC, 5, 1, 100, 3, 1, 2),)).build(),
        feedback.build(),
        rtp.build(bytes(40), payload_type=96, sequence=5, timestamp=6, ssrc=7),
    ]
    heard = 0
    for number in range(600):
        said = bytearray(chance.choice(seeds) * chance.randrange(1, 4))
        for _ in range(chance.randrange(1, 6)):
            said[chance.randrange(8, len(said))] = chance.randrange(256)
        said = said[: chance.randrange(12, len(said) + 1)]
        datagram = bad.protected(bytes(said))
        heard += bool(datagram)
        bad.say(datagram or b"\x80")
        if number % 10 == 0:
            bad.say(bytes((chance.randrange(20, 64),)) + chance.randbytes(chance.randrange(60)))  # DTLS, almost
            bad.say(datagram)  # once more
            bad.say(datagram[:-1] + b"?")
            stage.frames(3 + number // 10, 1)
            await eventually(lambda count=4 + number // 10: len({p.timestamp for p in good.packets}) == count)
    assert heard > 500
    refused = bad.peer.refused
    assert refused["replayed"] > 10
    assert refused["forged"] > 10
    assert bad.peer.received_packets > 400
    assert whole(good, len(good.packets))
    assert len(stage.gone) <= 1  # an alert of DTLS is a good-bye


async def test_strangers_who_shout_do_not_stop_the_picture(stage: Stage, hall: Hall) -> None:
    (viewer,) = await watch(stage, hall, 1)
    chance = random.Random(5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.connect(("127.0.0.1", hall.port.port))
        stranger.setblocking(False)
        for number in range(60):
            for _ in range(100):
                kind = chance.choice([b"\x00\x01", b"\x16\xfe\xfd", b"\x80\x60", b"\xff"])
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                    stranger.send(kind + chance.randbytes(chance.randrange(4, 200)))
            stage.frames(number, 1)
            await eventually(lambda count=number + 1: len({p.timestamp for p in viewer.packets}) == count)
    assert whole(viewer, len(viewer.packets))
    said = hall.port.describe()
    assert said["peers"] == 1
    assert stage.gone == []
