"""What a viewer by WebRTC is sent: numbers, times, extensions, repeats, reports, and what is left out."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from media.protocols.rtp import packet as rtp
from media.protocols.rtp import rtcp
from media.protocols.rtp.bandwidth import LOSS_INTERVAL
from media.protocols.rtp.packet import ONE_BYTE, elements
from media.protocols.rtp.twcc import ArrivalLog
from tests.media.egress.conftest import (
    AUDIO_SSRC,
    SPS_B,
    VIDEO_RTX,
    VIDEO_SSRC,
    Stage,
    h264,
    picture,
    sound,
)
from tests.support import eventually


def transport_number(packet: rtp.RtpPacket) -> int:
    assert packet.profile == ONE_BYTE
    values = dict(elements(packet.profile, packet.extension))
    return int.from_bytes(values[2], "big")


async def test_packets_are_numbered_and_say_where_they_belong(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.frames(0, 3)
    stage.session.samples([sound(0)])
    video, audio = far.of(VIDEO_SSRC), far.of(AUDIO_SSRC)
    assert far.frames() == [0, 1, 2]
    assert len(audio) == 1
    first = video[0].sequence
    assert [packet.sequence for packet in video] == [(first + i) & 0xFFFF for i in range(len(video))]
    assert len({packet.timestamp for packet in video}) == 3
    marked = [packet.timestamp for packet in video if packet.marker]
    assert sorted(marked) == sorted({packet.timestamp for packet in video})  # one a frame
    assert not audio[0].marker
    assert [transport_number(packet) for packet in far.packets] == list(range(len(far.packets)))
    assert {dict(elements(p.profile, p.extension))[1] for p in video} == {b"0"}
    assert {dict(elements(p.profile, p.extension))[1] for p in audio} == {b"1"}


async def test_one_who_comes_late_gets_the_frames_since_the_key_frame_at_the_live_edge(stage: Stage) -> None:
    _, early = stage.viewer()
    stage.frames(0, 40)
    _, late = stage.viewer()
    await eventually(lambda: late.frames()[-1:] == [39])
    assert late.frames() == list(range(30, 40))
    times = sorted({packet.timestamp for packet in late.of(VIDEO_SSRC)})
    assert len(times) == 10
    assert all(0 < b - a <= 90 for a, b in itertools.pairwise(times))
    stage.frames(40, 1)
    assert late.frames()[-1] == 40
    assert late.of(VIDEO_SSRC)[-1].timestamp - times[-1] == 3000  # as far behind as it was taken
    assert early.frames() == list(range(41))


async def test_so_does_the_first_of_all_viewers(stage: Stage) -> None:
    stage.frames(0, 40)
    _, first = stage.viewer()
    await eventually(lambda: first.frames()[-1:] == [39])
    assert first.frames() == list(range(30, 40))


async def test_the_frames_since_the_key_frame_go_out_spread(stage: Stage) -> None:
    stage.viewer()
    stage.frames(0, 30, size=40_000)
    began = time.monotonic()
    _, late = stage.viewer(burst_bitrate=50e6)
    at_once = sum(len(packet.payload) for packet in late.packets)
    assert at_once < 70_000
    await eventually(lambda: late.frames() == list(range(30)))
    assert time.monotonic() - began > 8 * 1_000_000 / 50e6


async def test_what_a_viewer_cannot_be_sent_in_time_is_left_out_up_to_a_key_frame(stage: Stage) -> None:
    _, far = stage.viewer(burst_bitrate=100_000)
    stage.frames(0, 60, size=20_000)
    assert far.frames()[:1] == [0]
    assert len(far.frames()) < 10
    sent = [packet.sequence for packet in far.of(VIDEO_SSRC)]
    assert [(b - a) & 0xFFFF for a, b in itertools.pairwise(sent)] == [1] * (len(sent) - 1)


async def test_lost_packets_are_sent_again(stage: Stage) -> None:
    viewer, far = stage.viewer()
    stage.frames(0, 3)
    lost = far.of(VIDEO_SSRC)[2]
    viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, (lost.sequence,)).build())
    (again,) = far.of(VIDEO_RTX)
    assert again.payload_type == 97
    assert (again.timestamp, again.marker) == (lost.timestamp, lost.marker)
    assert again.payload == lost.sequence.to_bytes(2, "big") + lost.payload
    assert transport_number(again) == len(far.packets) - 1
    viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, (lost.sequence + 5000 & 0xFFFF,)).build())
    assert len(far.of(VIDEO_RTX)) == 1


async def test_without_rtx_the_same_packet_goes_again_byte_for_byte(stage: Stage) -> None:
    viewer, far = stage.viewer(rtx=None)
    stage.frames(0, 3)
    stage.session.samples([sound(0)])
    before = list(far.raw)
    wanted = [packet.sequence for packet in far.of(VIDEO_SSRC)]
    viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, tuple(wanted)).build())
    assert far.raw[len(before) :] == [packet for packet in before if rtp.parse(packet).ssrc == VIDEO_SSRC]


async def test_what_is_asked_for_again_and_again_is_not_sent_without_end(stage: Stage) -> None:
    viewer, far = stage.viewer()
    stage.frames(0, 30)
    wanted = tuple(packet.sequence for packet in far.of(VIDEO_SSRC))
    for _ in range(200):
        viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, wanted).build())
    assert sum(len(packet.payload) for packet in far.of(VIDEO_RTX)) < 300_000


async def test_memory_of_what_was_sent_is_bounded(stage: Stage) -> None:
    viewer, far = stage.viewer(memory=50_000)
    stage.frames(0, 60)
    first, last = far.of(VIDEO_SSRC)[0], far.of(VIDEO_SSRC)[-1]
    viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, (first.sequence,)).build())
    assert not far.of(VIDEO_RTX)
    viewer.on_rtcp(rtcp.Nack(1, VIDEO_SSRC, (last.sequence,)).build())
    assert len(far.of(VIDEO_RTX)) == 1


async def test_a_wish_for_a_key_frame_is_for_the_publisher_if_it_can_make_one(stage: Stage) -> None:
    viewer, far = stage.viewer()
    stage.frames(0, 5)
    stage.link.can_ask = True
    stage.link.wanted.clear()
    for _ in range(5):
        viewer.on_rtcp(rtcp.Pli(1, VIDEO_SSRC).build())
    assert stage.link.wanted == [""]
    assert far.frames() == [0, 1, 2, 3, 4]


async def test_else_it_is_what_is_kept_since_the_last_one(stage: Stage) -> None:
    viewer, far = stage.viewer()
    stage.frames(0, 5)
    viewer.on_rtcp(rtcp.Fir(1, ((VIDEO_SSRC, 1),)).build())
    viewer.on_rtcp(rtcp.Fir(1, ((VIDEO_SSRC, 1),)).build())  # not twice at once
    await eventually(lambda: len(far.frames()) == 10)
    assert far.frames() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    stage.frames(5, 1)
    times = [packet.timestamp for packet in far.of(VIDEO_SSRC)]
    assert all((b - a) & 0xFFFFFFFF < 1 << 31 for a, b in itertools.pairwise(times))
    assert len(set(times)) == 11


async def test_reports_put_picture_and_sound_on_one_clock(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.session.samples([picture(0, key=True), sound(0)])
    stage.session.samples([sound(50), picture(30)])
    reports = await eventually(
        lambda: {r.ssrc: r for r in far.rtcp if isinstance(r, rtcp.SenderReport)} if len(far.rtcp) >= 4 else None
    )
    video, audio = reports[VIDEO_SSRC], reports[AUDIO_SSRC]
    shown = far.of(VIDEO_SSRC)[-1].timestamp
    heard = far.of(AUDIO_SSRC)[-1].timestamp

    def wall(report: rtcp.SenderReport, timestamp: int, rate: int) -> float:
        ahead = (timestamp - report.timestamp + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
        return report.ntp / 2**32 + ahead / rate

    assert abs(wall(video, shown, 90_000) - wall(audio, heard, 48_000)) < 0.001
    names = [r for r in far.rtcp if isinstance(r, rtcp.Description)]
    assert {chunk[1] for name in names for chunk in name.chunks} == {((rtcp.CNAME, b"cname"),)}


async def test_a_publisher_that_comes_back_goes_on_with_a_key_frame_and_times_that_rise(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.frames(0, 10)
    stage.session.close("gone", clean=False)
    stage.publish()
    stage.session.samples([picture(3)])
    assert far.frames() == list(range(10))  # no key frame yet
    stage.frames(30, 2)
    assert far.frames() == [*range(10), 30, 31]
    times = [packet.timestamp for packet in far.of(VIDEO_SSRC)]
    assert all((b - a) & 0xFFFFFFFF < 1 << 31 for a, b in itertools.pairwise(times))
    assert stage.gone == []


async def test_b_frames_that_nobody_needs_are_left_out(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.session.track(h264(SPS_B))
    for number, shown, priority in ((0, 1, 3), (1, 4, 2), (2, 2, 0), (3, 3, 0), (4, 7, 2), (5, 5, 0)):
        stage.session.samples([picture(number, key=not number, priority=priority, pts=3000 * shown)])
    assert far.frames() == [0, 1, 4]
    assert stage.gone == []


async def test_b_frames_that_others_need_end_it_with_the_reason(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.session.track(h264(SPS_B))
    programme = stage.programme
    for number, shown in ((0, 1), (1, 4), (2, 2)):
        stage.session.samples([picture(number, key=not number, pts=3000 * shown)])
    problem = await programme.judged()
    assert problem is not None
    assert problem.code == "b_frames"
    assert "bframes=0" in far.closed
    assert stage.gone == [problem.words]


async def test_feedback_tells_of_loss_and_of_what_arrives(stage: Stage) -> None:
    viewer, far = stage.viewer()
    log = ArrivalLog(sender=1)
    start, told = time.monotonic(), 0
    for number in range(90):
        if number == 60:
            await asyncio.sleep(LOSS_INTERVAL + 0.05)
        stage.frames(number, 1, size=6000)
        for packet in far.packets[told:]:
            if transport_number(packet) % 5:  # each fifth is lost
                log.arrived(transport_number(packet), start + number / 30 + 0.01)
        told = len(far.packets)
        if number % 3 == 2:
            for message in log.feedback():
                viewer.on_rtcp(message.build())
    assert 0.15 < viewer.estimator.loss < 0.25
    assert viewer.estimator.received > 0
    assert viewer.estimator.decreased > 0


async def test_the_rate_falls_when_feedback_stops_though_packets_go_out(stage: Stage) -> None:
    viewer, far = stage.viewer()
    viewer.tick(time.monotonic() + 10)
    before = viewer.estimator.estimate  # who never told anything may be one who never does
    log = ArrivalLog(sender=1)
    stage.frames(0, 3)
    for packet in far.packets:
        log.arrived(transport_number(packet), time.monotonic())
    for message in log.feedback():
        viewer.on_rtcp(message.build())
    now = time.monotonic()
    viewer.tick(now + 5)
    assert viewer.estimator.estimate == before  # nothing was sent since
    stage.frames(3, 1)
    viewer.tick(now + 5.5)
    viewer.tick(now + 5.6)
    assert viewer.estimator.estimate == before // 2
    assert viewer.congested(now + 6)


@pytest.mark.parametrize(
    "packet",
    [b"", b"\x8f\xcd", b"\x8f\xcd\x00\x01", b"\x8f\xcd\x00\x05" + bytes(20), b"\x8f\xcd\x00\x04" + b"\xff" * 16],
)
async def test_nonsense_from_a_viewer_changes_nothing(stage: Stage, packet: bytes) -> None:
    viewer, far = stage.viewer()
    stage.frames(0, 2)
    viewer.on_rtcp(packet)
    viewer.on_rtp(packet, 0.0)
    stage.frames(2, 1)
    assert far.frames() == [0, 1, 2]


async def test_a_viewer_that_fails_does_not_stop_the_others(stage: Stage) -> None:
    broken, bad = stage.viewer()
    _, good = stage.viewer()

    def fails(packets: object) -> None:
        raise OSError("of our own making")

    bad.send_rtp_batch = fails  # type: ignore[method-assign]
    stage.frames(0, 3)
    assert good.frames() == [0, 1, 2]
    assert broken.closed
    assert stage.gone == ["the server made a mistake"]


async def test_with_the_last_viewer_nothing_is_left(stage: Stage) -> None:
    readers = len(stage.broadcast._readers)
    first, far = stage.viewer()
    second, _ = stage.viewer()
    stage.frames(0, 2)
    first.close("enough")
    assert any(isinstance(packet, rtcp.Bye) for packet in far.rtcp)
    stage.frames(2, 1)
    second.close("enough")
    assert stage.gone == ["enough", "enough"]
    assert len(stage.broadcast._readers) == readers
    assert not stage.broadcast._followers
    assert stage.programmes.describe()["programmes"] == []


async def test_the_end_of_the_broadcast_is_the_end_of_its_viewers(stage: Stage) -> None:
    _, far = stage.viewer()
    stage.frames(0, 2)
    stage.broadcast.end("over")
    await eventually(lambda: stage.gone)
    assert "ended" in far.closed
