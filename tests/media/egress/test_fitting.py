"""What a viewer's network is told to carry: feedback read by batches, and which rendition that leads to."""

from __future__ import annotations

import random

import pytest

from media.egress.batchlog import BatchLog, split_feedback
from media.egress.layers import FIRST_TRY, PROVEN, Choice, Chooser, Picture, Rendition
from media.egress.outgoing import Format, Outgoing
from media.protocols.errors import RtpError
from media.protocols.rtp import packet as rtp
from media.protocols.rtp.twcc import ArrivalLog, SendLog

HIGH, LOW = Rendition("source", 2_500_000, 400_000), Rendition("480p", 800_000, 150_000)
BOTH = [HIGH, LOW]


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_batches_tell_what_single_packets_would(lost: float) -> None:
    chance = random.Random(7)
    batches, packets, arrivals = BatchLog(), SendLog(), ArrivalLog(sender=1)
    came_by_batch = lost_by_batch = told = 0
    came_by_packet = lost_by_packet = 0
    last_by_batch = last_by_packet = 0.0
    for number in range(200):
        at, count = number / 30, chance.randrange(1, 12)
        first = batches.next
        batches.sent(at, count, 1000 * count)
        for i in range(count):
            assert packets.sent(at, 1000) == (first + i) & 0xFFFF
            if chance.random() >= lost:
                arrivals.arrived((first + i) & 0xFFFF, at + 0.05 + i / 5000)
        if number % 3:
            continue
        for message in arrivals.feedback():
            bodies, rest = split_feedback(message.build())
            assert not rest
            found = batches.told(bodies[0])
            came_by_batch += sum(one.size for one in found.came)
            lost_by_batch, told = lost_by_batch + found.lost, told + found.packets
            last_by_batch = max([last_by_batch, *(one.arrived or 0.0 for one in found.came)])
            for one in packets.acknowledged(message):
                lost_by_packet += one.arrived is None
                came_by_packet += one.size if one.arrived is not None else 0
                last_by_packet = max(last_by_packet, one.arrived or 0.0)
    assert told > 900
    assert lost_by_batch == lost_by_packet
    assert came_by_batch == came_by_packet
    assert last_by_batch == pytest.approx(last_by_packet)


def test_any_bytes_are_read_or_refused() -> None:
    chance = random.Random(3)
    log = BatchLog()
    for number in range(300):
        log.sent(number / 30, 9, 9000)
    for _ in range(3000):
        try:
            log.told(chance.randbytes(chance.randrange(60)))
        except RtpError:
            continue
    assert log.told(b"\0" * 8 + b"\xff\xff\0\1" + b"\0" * 4 + b"\0\1").packets <= 1


def test_numbers_go_on_beyond_sixteen_bits() -> None:
    out = Outgoing(ssrc=1, rtx_ssrc=2, rate=90_000, mid="0", mid_id=1, transport_id=2, first=0xFFFA)
    raw = out.build([bytes((i,)) for i in range(9)], 9, 0, Format(96), 0x1FFFE)
    packets = [rtp.parse(packet) for packet in raw]
    ids = rtp.ExtensionMap({rtp.MID: 1, rtp.TRANSPORT_CC: 2})
    assert [packet.sequence for packet in packets] == [0xFFFA, 0xFFFB, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF, 0, 1, 2]
    assert [ids.transport_sequence(packet) for packet in packets] == [0xFFFE, 0xFFFF, *range(7)]
    assert [packet.payload for packet in packets] == [bytes((i,)) for i in range(9)]
    assert [packet.marker for packet in packets] == [False] * 8 + [True]
    assert out.again(1, 0) == (raw[7], False)


def look(
    chooser: Chooser, now: float, estimate: float, *, congested: bool, renditions: list[Rendition] = BOTH
) -> Choice:
    return chooser.look(now, renditions, estimate, congested=congested, besides=64_000)


def test_a_low_estimate_alone_changes_nothing() -> None:
    chooser = Chooser("source")
    for step in range(100):
        assert look(chooser, 1 + step / 4, 300_000, congested=False) == Choice("source", Picture.FULL)


def test_congestion_leads_down_as_far_as_it_takes_after_a_moment() -> None:
    chooser = Chooser("source")
    assert look(chooser, 1.0, 1_000_000, congested=True).name == "source"
    assert look(chooser, 1.6, 1_000_000, congested=True) == Choice("480p", Picture.FULL)
    look(chooser, 2.0, 300_000, congested=True)
    assert look(chooser, 2.6, 300_000, congested=True) == Choice("480p", Picture.KEYS)
    look(chooser, 3.0, 60_000, congested=True)
    assert look(chooser, 3.6, 60_000, congested=True) == Choice("480p", Picture.NONE)


def test_it_goes_up_a_step_at_a_time_and_waits_longer_after_each_failure() -> None:
    chooser = Chooser("source")
    look(chooser, 1.0, 1_000_000, congested=True)
    look(chooser, 1.6, 1_000_000, congested=True)
    assert look(chooser, 1.7 + FIRST_TRY / 2, 1_000_000, congested=False).name == "480p"  # not enough, and too soon
    now = 1.7 + FIRST_TRY
    assert look(chooser, now, 1_000_000, congested=False).name == "source"  # tried
    look(chooser, now + 1, 1_000_000, congested=True)
    assert look(chooser, now + 1.6, 1_000_000, congested=True).name == "480p"
    assert look(chooser, now + 1.7 + FIRST_TRY, 1_000_000, congested=False).name == "480p"
    assert look(chooser, now + 1.7 + 2 * FIRST_TRY, 1_000_000, congested=False).name == "source"
    assert look(chooser, now + 20 + PROVEN, 5_000_000, congested=False).name == "source"


def test_a_rendition_that_is_gone_is_left() -> None:
    chooser = Chooser("source")
    look(chooser, 1.0, 1_000_000, congested=True)
    assert look(chooser, 1.6, 1_000_000, congested=True).name == "480p"
    assert look(chooser, 1.7, 1_000_000, congested=False, renditions=[HIGH]) == Choice("source", Picture.FULL)
