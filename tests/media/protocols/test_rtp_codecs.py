"""VP9, AV1, Opus and VP8 over RTP: streams of libavformat, our own payloads, loss and nonsense."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols.errors import MediaError, RtpError
from media.protocols.rtp import av1, opus, vp8, vp9
from media.protocols.rtp.av1 import Av1Depacketizer, Av1Packetizer
from media.protocols.rtp.frames import Depacketizer, Frame
from media.protocols.rtp.opus import OpusDepacketizer
from media.protocols.rtp.packet import RtpPacket
from media.protocols.rtp.vp9 import Vp9Depacketizer, Vp9Packetizer
from media.samples import Codec, Sample
from tests.media.protocols.rtp_streams import SIZE, Stream, av1_sent, packets, sent

VP9 = {"deadline": "realtime", "cpu-used": "8", "g": "6", "lag-in-frames": "0"}


class Packetizer(Protocol):
    def payloads(self, sample: Sample) -> list[bytes]: ...


def push_all(depacketizer: Depacketizer | OpusDepacketizer, stream: Sequence[RtpPacket]) -> list[Frame]:
    return [frame for packet in stream for frame in depacketizer.push(packet)]


def vp9_sent() -> Stream:
    return sent("libvpx-vp9", 12, **VP9)


def test_vp9_of_libavformat() -> None:
    stream = vp9_sent()
    depacketizer = Vp9Depacketizer()
    frames = push_all(depacketizer, stream.packets)
    assert [frame.data for frame in frames] == stream.frames
    assert [frame.key for frame in frames] == stream.keys
    assert sum(stream.keys) == 2
    (track,) = [frame.track for frame in frames if frame.track]
    assert (track.codec, track.width, track.height, track.codec_string) == (Codec.VP9, *SIZE, "vp09.00.10.08")
    assert track.config.hex() == "01000000000a82020202" + "0000"
    assert [vp9.starts_key(packet.payload) for packet in stream.packets].count(True) == 2


def test_av1_of_libavformat() -> None:
    stream = av1_sent()
    depacketizer = Av1Depacketizer()
    frames = push_all(depacketizer, stream.packets)
    assert [frame.data for frame in frames] == stream.frames
    assert [frame.key for frame in frames] == stream.keys
    assert sum(stream.keys) == 3
    (track,) = [frame.track for frame in frames if frame.track]
    assert (track.codec, track.width, track.height) == (Codec.AV1, *SIZE)
    assert track.codec_string == "av01.0.00M.08"
    assert track.config[:4] == b"\x81\x00\x0c\x00"
    assert [av1.starts_key(packet.payload) for packet in stream.packets].count(True) == 3


def test_opus_of_libavformat() -> None:
    stream = sent("libopus", 20)
    frames = push_all(OpusDepacketizer(), stream.packets)
    assert [frame.data for frame in frames] == stream.frames
    assert {frame.duration for frame in frames} == {960}
    assert frames[0].track == opus.track()
    assert not any(frame.track for frame in frames[1:])
    assert opus.track().channels == 2
    assert opus.track().config.hex() == "01020000" + "80bb0000" + "000000"


def test_a_loss_of_sound_costs_what_was_lost() -> None:
    stream = sent("libopus", 20)
    depacketizer = OpusDepacketizer()
    nonsense = [RtpPacket(111, 1, 2, 3, payload) for payload in (b"", b"\xff", bytes(5000))]
    frames = push_all(depacketizer, [*stream.packets[:5], *nonsense, *stream.packets[8:]])
    assert len(frames) == 17 + len(stream.packets) - 20
    assert depacketizer.damaged == 2
    assert not depacketizer.wants_key


def test_silence_is_silent_and_as_long_as_it_says() -> None:
    decoder = av.CodecContext.create("libopus", "r")
    decoder.extradata = b"OpusHead" + opus.track().config
    pieces = list(opus.silence(960 + 480 + 240 + 120 + 119))
    assert [duration for duration, _ in pieces] == [960, 480, 240, 120]
    for duration, payload in pieces:
        (sound,) = decoder.decode(av.Packet(payload))
        assert sound.samples == duration
        assert not any(bytes(sound.planes[0]))


@settings(max_examples=25, deadline=None)
@given(
    codec=st.sampled_from([Codec.VP9, Codec.AV1]),
    limit=st.integers(60, 1400),
    first=st.integers(0, 65535),
    seed=st.integers(0, 1 << 30),
    loss=st.sampled_from([0.0, 0.02, 0.2]),
)
def test_samples_come_back(codec: Codec, limit: int, first: int, seed: int, loss: float) -> None:
    stream = vp9_sent() if codec is Codec.VP9 else av1_sent()
    packetizer: Packetizer = Vp9Packetizer(payload=limit) if codec is Codec.VP9 else Av1Packetizer(payload=limit)
    depacketizer = Vp9Depacketizer() if codec is Codec.VP9 else Av1Depacketizer()
    damage = random.Random(seed)
    sequence, broken = first, False
    expected, got = [], []
    for i, (data, key) in enumerate(zip(stream.frames, stream.keys, strict=True)):
        payloads = packetizer.payloads(Sample(1, i, i, key, data))
        assert max(map(len, payloads)) <= limit
        hurt = False
        for packet in packets(payloads, sequence, i):
            if damage.random() < loss:
                hurt = True
            else:
                got += depacketizer.push(packet)
        sequence += len(payloads)
        broken = hurt or (broken and not key)
        if not broken:
            expected.append((i, key, data))
    assert [(frame.timestamp, frame.key, frame.data) for frame in got] == expected


@pytest.mark.parametrize(
    ("payload", "head"),
    [
        ("88 00", vp9.Descriptor(False, True, False, 0, 0, 0, False, (0, 0), 2)),
        ("cc 8123", vp9.Descriptor(True, True, True, 0x123, 0, 0, False, (0, 0), 3)),
        ("ac 05 74 09", vp9.Descriptor(False, True, True, 5, 3, 2, True, (0, 0), 4)),
        ("fc 05 20 03 05 02", vp9.Descriptor(True, True, True, 5, 1, 0, False, (0, 0), 6)),
        ("8a 05 38 0140 00b4 0280 0168 01 04 02", vp9.Descriptor(False, True, False, 5, 0, 0, False, (640, 360), 14)),
    ],
)
def test_vp9_descriptors(payload: str, head: vp9.Descriptor) -> None:
    raw = bytes.fromhex(payload.replace(" ", ""))
    assert vp9.descriptor(raw + b"frame") == head
    for cut in range(len(raw)):
        with pytest.raises(RtpError):
            vp9.descriptor(raw[:cut])


def test_vp9_spatial_layers_are_one_superframe() -> None:
    base = vp9_sent().frames[0]
    structure = bytes.fromhex("30 0080 0060 0100 00c0".replace(" ", ""))
    first = b"\xae\x05\x00\x00" + structure + base
    second = b"\xec\x05\x02\x00" + bytes(300)
    depacketizer = Vp9Depacketizer()
    (frame,) = push_all(depacketizer, packets([first, second], 0, 0))
    width = 2
    index = bytes((0xC0 | (width - 1) << 3 | 1,))
    sizes = len(base).to_bytes(width, "little") + (300).to_bytes(width, "little")
    assert frame.data == base + bytes(300) + index + sizes + index
    assert frame.track is not None
    assert (frame.track.width, frame.track.height) == (256, 192)
    assert not push_all(depacketizer, packets([second], 3, 1))
    assert depacketizer.wants_key


@pytest.mark.parametrize(
    ("payload", "parts"),
    [
        ("10 aabb", ["aabb"]),
        ("20 01aa bbcc", ["aa", "bbcc"]),
        ("00 01aa 02bbcc", ["aa", "bbcc"]),
        ("00 8100aa", ["aa"]),
        ("20 01aa", None),
        ("00 05aa", None),
        ("00 ffffffffffffffffff", None),
        ("30 aa", None),
    ],
)
def test_av1_elements(payload: str, parts: list[str] | None) -> None:
    raw = bytes.fromhex(payload.replace(" ", ""))
    if parts is None:
        with pytest.raises(MediaError):
            av1.elements(raw)
    else:
        assert [part.hex() for part in av1.elements(raw)] == parts


@pytest.mark.parametrize(
    ("payload", "head"),
    [
        ("10", vp8.Descriptor(True, False, -1, -1, -1, False, 1)),
        ("30", vp8.Descriptor(True, True, -1, -1, -1, False, 1)),
        ("11", vp8.Descriptor(False, False, -1, -1, -1, False, 1)),
        ("90 80 05", vp8.Descriptor(True, False, 5, -1, -1, False, 3)),
        ("90 e0 8123 07 60", vp8.Descriptor(True, False, 0x123, 7, 1, True, 6)),
        ("80 10 00", vp8.Descriptor(False, False, -1, -1, -1, False, 3)),
    ],
)
def test_vp8_descriptors(payload: str, head: vp8.Descriptor) -> None:
    raw = bytes.fromhex(payload.replace(" ", ""))
    assert vp8.descriptor(raw + b"frame") == head
    for cut in range(len(raw) + 1):
        with pytest.raises(RtpError):
            vp8.descriptor(raw[:cut])


def test_vp8_key_frames_are_told_apart() -> None:
    stream = sent("libvpx", 12, deadline="realtime", g="6")
    sizes = [size for packet in stream.packets if (size := vp8.key_frame_size(packet.payload))]
    assert sizes == [SIZE, SIZE]
    assert sum(vp8.starts_key(packet.payload) for packet in stream.packets) == 2


@pytest.mark.parametrize("make", [Vp9Depacketizer, Av1Depacketizer])
def test_a_frame_is_bounded(make: Callable[..., Depacketizer]) -> None:
    depacketizer = make(max_frame=5000)
    middle = b"\x00" + bytes(1000) if make is Vp9Depacketizer else b"\xd0" + bytes(1000)
    begin = b"\x08" + bytes(1000) if make is Vp9Depacketizer else b"\x58" + bytes(1000)
    push_all(depacketizer, [RtpPacket(96, i, 0, 1, middle if i else begin) for i in range(50)])
    assert not push_all(depacketizer, [RtpPacket(96, 50, 1, 1, middle, marker=True)])
    assert depacketizer.damaged == 2
    assert len(depacketizer._body) <= 5000


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([Vp9Depacketizer, Av1Depacketizer, OpusDepacketizer]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans(), st.binary(max_size=40)), max_size=30),
)
def test_any_payloads_give_frames_or_damage(
    make: Callable[[], Depacketizer | OpusDepacketizer], stream: list[tuple[int, int, bool, bytes]]
) -> None:
    depacketizer = make()
    sequence = timestamp = 0
    for skip, step, marker, payload in stream:
        sequence, timestamp = sequence + 1 + skip // 3, timestamp + step
        for frame in depacketizer.push(RtpPacket(96, sequence & 0xFFFF, timestamp, 1, payload, marker=marker)):
            assert frame.data
        vp8.starts_key(payload)
        vp9.starts_key(payload)
        av1.starts_key(payload)
        with contextlib.suppress(RtpError):
            assert vp8.descriptor(payload).length < len(payload)
