"""H.264 over RTP: streams of libavformat, our own payloads, and what loss and nonsense do to frames."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols import h26x
from media.protocols.errors import MediaError
from media.protocols.rtp import h264
from media.protocols.rtp.frames import Frame
from media.protocols.rtp.h264 import H264Depacketizer, H264Packetizer, Reordering
from media.protocols.rtp.packet import RtpPacket
from media.samples import Codec, Sample, Track
from tests.media.protocols.rtp_streams import SIZE, annexb_units, h264_file, packets, sent

PLAIN = {"preset": "ultrafast", "bf": "0", "g": "10"}
B_FRAMES = {"preset": "veryfast", "bf": "2", "b_strategy": "0", "sc_threshold": "0", "g": "12"}
SETS = b"\x67\x42\xc0\x1e\xda\x02\x80\xbf\xe5\x84\x00\x00\x03\x00\x04\x00\x00\x03\x00\xf0\x3c\x58\xba\x80"
PPS = b"\x68\xce\x0f\xc8"


def slices(data: bytes) -> list[bytes]:
    return [data[start:end] for start, end in h264.units(data) if data[start] & 31 < 6]


def push_all(depacketizer: H264Depacketizer, stream: list[RtpPacket]) -> list[Frame]:
    return [frame for packet in stream for frame in depacketizer.push(packet)]


def stap(*units: bytes) -> bytes:
    return b"\x78" + b"".join(len(unit).to_bytes(2, "big") + unit for unit in units)


@pytest.mark.parametrize("packet_size", [300, 1200])
@pytest.mark.parametrize("slices_each", ["1", "4"])
def test_a_stream_of_libavformat(packet_size: int, slices_each: str) -> None:
    stream = sent("libx264", 20, packet_size, **PLAIN, slices=slices_each)
    depacketizer = H264Depacketizer()
    frames = push_all(depacketizer, stream.packets)
    wanted = [[unit for unit in annexb_units(data) if unit[0] & 31 < 6] for data in stream.frames]
    assert [slices(frame.data) for frame in frames] == wanted
    assert [frame.key for frame in frames] == stream.keys
    assert sum(stream.keys) == 2
    assert depacketizer.damaged == depacketizer.skipped == 0
    assert not depacketizer.wants_key
    steps = {(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(frames)}
    assert steps == {3000}
    tracks = [frame.track for frame in frames if frame.track]
    assert len(tracks) == 1
    assert frames[0].track is tracks[0]
    assert (tracks[0].width, tracks[0].height, tracks[0].codec) == (*SIZE, Codec.H264)


@pytest.mark.parametrize("options", [PLAIN, B_FRAMES, {**PLAIN, "profile": "high", "preset": "veryfast"}])
def test_the_configuration_is_the_one_of_libavformat(options: dict[str, str]) -> None:
    track, samples = h264_file(**options)
    frames = push_all(H264Depacketizer(), packets(H264Packetizer(track).payloads(samples[0]), 0, 0))
    assert frames[0].track is not None
    assert frames[0].track.config == track.config
    assert h26x.build_avcc(*h26x.parameter_sets(track.config)) == track.config


@settings(max_examples=40, deadline=None)
@given(
    limit=st.integers(100, 1400),
    first=st.integers(0, 65535),
    options=st.sampled_from([PLAIN, B_FRAMES, {**PLAIN, "slices": "6"}]),
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from([0.0, 0.01, 0.1]),
)
def test_samples_come_back(limit: int, first: int, options: dict[str, str], seed: int, loss: float) -> None:
    """Without loss all of them; with loss only whole ones, none after a missing one until a key frame."""
    track, samples = h264_file(**options)
    damage = random.Random(seed)
    packetizer = H264Packetizer(track, payload=limit)
    depacketizer = H264Depacketizer()
    got: dict[int, Frame] = {}
    hurt: set[int] = set()
    sequence = first
    for sample in samples:
        payloads = packetizer.payloads(sample)
        assert max(map(len, payloads)) <= limit
        for packet in packets(payloads, sequence, sample.pts):
            if damage.random() < loss:
                hurt.add(sample.pts)
                continue
            for frame in depacketizer.push(packet):
                got[frame.timestamp] = frame
        sequence += len(payloads)
    broken = False
    expected = []
    for sample in samples:
        broken = sample.pts in hurt or (broken and not sample.key)
        if not broken:
            expected.append(sample)
    by_time = {sample.pts: sample for sample in samples}
    assert [*got] == [sample.pts for sample in expected]
    for timestamp, frame in got.items():
        assert slices(frame.data) == slices(by_time[timestamp].data)
        assert frame.key == by_time[timestamp].key


def test_a_key_frame_brings_its_sets_and_fragments_are_equally_long() -> None:
    track, samples = h264_file(**PLAIN)
    packetizer = H264Packetizer(track)
    payloads = packetizer.payloads(samples[0])
    kinds = [payload[0] & 31 for payload in payloads]
    assert kinds[0] == h264.STAP_A
    assert set(kinds[1:]) == {h264.FU_A}
    assert len({len(payload) for payload in payloads[1:-1]}) == 1
    assert len(payloads[-1]) <= len(payloads[-2]) <= h264.PAYLOAD
    assert h264.starts_key(payloads[0])
    assert not any(h264.starts_key(payload) for payload in payloads[2:])
    assert not h264.starts_key(packetizer.payloads(samples[1])[0])


def test_what_players_do_not_need_is_left_out() -> None:
    track, _ = h264_file(**PLAIN)
    kinds = {"delimiter": b"\x09\xf0", "sei": b"\x06\x01", "filler": b"\x0c\xff", "slice": b"\x41\x9a\x00"}
    data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in kinds.values())
    packetizer = H264Packetizer(track)
    assert packetizer.payloads(Sample(1, 0, 0, False, data)) == [kinds["slice"]]
    assert packetizer.payloads(Sample(1, 0, 0, False, data[:6])) == []


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x09\x41", b"\x00\x00\x00\x00", b"\x00\x00", b"\xff\xff\xff\xff\x41"])
def test_a_sample_with_a_wrong_length_is_refused(data: bytes) -> None:
    track, _ = h264_file(**PLAIN)
    with pytest.raises(MediaError):
        H264Packetizer(track).payloads(Sample(1, 0, 0, False, data))


def one(payload: bytes, sequence: int = 0, timestamp: int = 0, *, marker: bool = True) -> RtpPacket:
    return RtpPacket(96, sequence, timestamp, 1, payload, marker=marker)


KEY = stap(SETS, PPS, b"\x65\x88\x01")
DELTA = b"\x41\x9a\x01"


def test_a_lost_packet_costs_the_frames_up_to_the_next_key_frame() -> None:
    depacketizer = H264Depacketizer()
    stream = [one(KEY, 0, 0), one(DELTA, 1, 1), one(DELTA, 3, 3), one(DELTA, 4, 4), one(KEY, 5, 5), one(DELTA, 6, 6)]
    assert [frame.timestamp for frame in push_all(depacketizer, stream[:4])] == [0, 1]
    assert depacketizer.wants_key
    assert depacketizer.skipped == 2
    assert [frame.timestamp for frame in push_all(depacketizer, stream[4:])] == [5, 6]
    assert not depacketizer.wants_key


def test_a_key_frame_that_lost_its_beginning_is_not_taken() -> None:
    """The first slice of what came begins in the middle of the picture, or the parameter sets are missing."""
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [one(KEY, 0, 0)])
    assert not push_all(depacketizer, [one(b"\x65\x40\x01", 2, 1)])
    assert not push_all(depacketizer, [one(b"\x65\x88\x01", 4, 2)])
    assert depacketizer.damaged == 2
    assert depacketizer.wants_key
    assert depacketizer.problem == "a key frame has lost its parameter sets"
    assert len(push_all(depacketizer, [one(KEY, 5, 3)])) == 1
    assert depacketizer.problem == ""


def test_a_frame_ends_with_its_timestamp_when_no_marker_tells() -> None:
    depacketizer = H264Depacketizer()
    frames = push_all(depacketizer, [one(KEY, 0, 0, marker=False), one(DELTA, 1, 9, marker=False), one(DELTA, 2, 18)])
    assert [frame.timestamp for frame in frames] == [0, 9, 18]


def test_new_sets_are_a_new_track_and_the_same_again_are_not() -> None:
    depacketizer = H264Depacketizer()
    first, again = push_all(depacketizer, [one(KEY, 0, 0), one(KEY, 1, 1)])
    assert first.track is not None
    assert again.track is None
    changed = stap(SETS, PPS + b"\x80", b"\x65\x88\x01")
    (new,) = push_all(depacketizer, [one(changed, 2, 2)])
    assert new.track is not None
    assert new.track.config != first.track.config


def test_sets_that_change_between_key_frames_wait_for_the_next() -> None:
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [one(KEY, 0, 0)])
    assert not push_all(depacketizer, [one(stap(PPS + b"\x80", DELTA), 1, 1)])
    assert depacketizer.wants_key
    assert len(push_all(depacketizer, [one(KEY, 2, 2)])) == 1


def test_sets_of_the_sdp_serve_senders_that_send_none() -> None:
    (frame,) = push_all(H264Depacketizer(sets=[SETS, PPS, b""]), [one(b"\x65\x88\x01")])
    assert frame.track is not None
    assert not push_all(lacking := H264Depacketizer(), [one(b"\x65\x88\x01")])
    assert lacking.problem == "the H.264 stream lacks its SPS or its PPS"


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([b"\x78"], id="STAP-A of nothing"),
        pytest.param([b"\x78\x00"], id="STAP-A ends in a length"),
        pytest.param([b"\x78\x00\x09\x41"], id="STAP-A claims too much"),
        pytest.param([b"\x78\x00\x00"], id="STAP-A with an empty unit"),
        pytest.param([stap(stap(DELTA))], id="STAP-A in STAP-A"),
        pytest.param([b"\x79\x00\x00\x00\x03" + DELTA], id="STAP-B"),
        pytest.param([b"\x7d\x85\x00\x00\x01"], id="FU-B"),
        pytest.param([b"\x5c\x01\x02"], id="FU-A from the middle"),
        pytest.param([b"\x5c\x81\x9a"], id="FU-A without an end"),
        pytest.param([b"\x5c\x81\x9a", DELTA], id="FU-A broken off"),
        pytest.param([b"\x5c\x81\x9a", b"\x5c\x42\x9a"], id="FU-A of two types"),
        pytest.param([b"\x5c\x81"], id="FU-A of nothing"),
        pytest.param([b"\x5c\x9c\x01"], id="FU-A in FU-A"),
        pytest.param([b"\xc1\x9a"], id="forbidden bit"),
        pytest.param([b"\x41"], id="slice of nothing"),
        pytest.param([b"\x67" + bytes(5000)], id="SPS too long"),
        pytest.param([b"\x1f"], id="unknown type"),
        pytest.param([b"\x00\x00\x00\x01\x41"], id="Annex B"),
    ],
)
def test_nonsense_costs_a_frame_and_nothing_more(payloads: list[bytes]) -> None:
    depacketizer = H264Depacketizer()
    push_all(depacketizer, [one(KEY, 0, 0)])
    stream = packets(payloads, 1, 1)
    assert not push_all(depacketizer, stream)
    assert depacketizer.damaged == 1
    assert depacketizer.wants_key
    assert len(push_all(depacketizer, [one(KEY, 1 + len(stream), 2)])) == 1


def test_a_frame_is_bounded() -> None:
    depacketizer = H264Depacketizer(max_frame=10_000)
    begin = RtpPacket(96, 0, 0, 1, b"\x5c\x81" + bytes(1000))
    stream = [begin, *(RtpPacket(96, i, 0, 1, b"\x5c\x01" + bytes(1000)) for i in range(1, 40))]
    push_all(depacketizer, stream)
    assert len(depacketizer._body) <= 10_000
    assert "10000 bytes" in depacketizer.problem
    assert len(push_all(depacketizer, [one(KEY, 40, 1)])) == 1
    many = stap(*[b"\x06\x01"] * 200)
    push_all(depacketizer, [RtpPacket(96, 41 + i, 2, 1, many, marker=i == 9) for i in range(10)])
    assert depacketizer.damaged == 2


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.binary(max_size=40)), max_size=30))
def test_any_payloads_give_frames_or_damage(stream: list[tuple[int, int, bool, bytes]]) -> None:
    depacketizer = H264Depacketizer(sets=[SETS, PPS], max_frame=200)
    sequence = timestamp = 0
    for skip, step, marker, payload in stream:
        sequence, timestamp = sequence + 1 + skip // 3, timestamp + step
        for frame in depacketizer.push(one(payload, sequence & 0xFFFF, timestamp, marker=marker)):
            assert list(h264.units(frame.data))
            assert len(frame.data) <= 200


@pytest.mark.parametrize(
    ("options", "allowed", "left_out", "needed"),
    [
        (PLAIN, False, False, False),
        ({**B_FRAMES, "x264": "b-pyramid=none"}, True, True, False),
        ({**B_FRAMES, "bf": "3", "x264": "b-pyramid=normal:b-adapt=0"}, True, True, True),
    ],
)
def test_reordering(options: dict[str, str], allowed: bool, left_out: bool, needed: bool) -> None:
    track, samples = h264_file(**options)
    assert h264.may_reorder(track) is allowed
    assert any(sample.pts != sample.dts for sample in samples) is allowed
    reordering = Reordering(track)
    kept = [sample for sample in samples if reordering.sendable(sample)]
    assert bool(reordering.left_out) is left_out
    assert reordering.needed is needed
    assert [sample.pts for sample in kept] == sorted(sample.pts for sample in kept)
    if not left_out:
        assert kept == list(samples)


def test_parameter_sets_that_fit_no_packet_are_refused() -> None:
    track, samples = h264_file(**PLAIN)
    with pytest.raises(MediaError, match="do not fit"):
        H264Packetizer(track, payload=20).payloads(samples[0])
    with pytest.raises(MediaError):
        H264Packetizer(Track(1, Codec.H264, 90_000, b"\x01", ""))
