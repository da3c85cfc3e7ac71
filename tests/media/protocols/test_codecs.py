"""Decoder configurations: of real encoders, of tables, and of any bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols import aac, av1, h26x, opus, vp9
from media.protocols.errors import MediaError, ProtocolError, UnsupportedMedia
from tests.av1 import encode_av1


def extradata(encoder: str, width: int, height: int, rate: Fraction, format: str = "mp4") -> bytes:
    """The configuration that libavformat writes for an encoder, as the box's body."""
    import io  # noqa: PLC0415

    file = io.BytesIO()
    with av.open(file, "w", format=format) as out:
        stream: Any = out.add_stream(encoder, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(3):
            picture = av.VideoFrame(width, height, "yuv420p")
            picture.pts, picture.time_base = i, 1 / rate
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    data = file.getvalue()
    name = {"libx264": b"avcC", "libx265": b"hvcC", "libvpx-vp9": b"vpcC"}[encoder]
    at = data.index(name)
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (322, 182)])
@pytest.mark.parametrize("rate", [Fraction(30), Fraction(30000, 1001), Fraction(60)])
def test_h264(size: tuple[int, int], rate: Fraction) -> None:
    config = extradata("libx264", *size, rate)
    parsed = h26x.parse_avcc(config)
    assert (parsed.width, parsed.height, parsed.length_size) == (*size, 4)
    assert parsed.frame_rate == pytest.approx(float(rate))
    assert parsed.codec_string == "avc1." + config[1:4].hex().upper()


@pytest.mark.parametrize("size", [(640, 360), (322, 182)])
def test_hevc(size: tuple[int, int]) -> None:
    parsed = h26x.parse_hvcc(extradata("libx265", *size, Fraction(25)))
    assert (parsed.width, parsed.height, parsed.length_size) == (*size, 4)
    assert parsed.frame_rate == pytest.approx(25)
    assert parsed.codec_string.startswith("hvc1.1.6.L")


def av1c(width: int, height: int) -> bytes:
    """The body of av1C in a file."""
    data = encode_av1(width, height, Fraction(30), 0.1, 30)
    at = data.index(b"av1C")
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]


def test_av1() -> None:
    parsed = av1.parse_av1c(av1c(322, 182))
    assert (parsed.width, parsed.height) == (322, 182)
    assert parsed.codec_string.startswith("av01.0.")
    assert parsed.codec_string.endswith("M.08")


def test_vp9() -> None:
    body, name = vp9.parse_vpcc(extradata("libvpx-vp9", 322, 182, Fraction(30)))
    assert vp9.parse_vpcc(body[4:]) == (body, name)
    assert name.startswith("vp09.00.")
    assert name.endswith(".08")


@pytest.mark.parametrize(
    ("general", "name"),
    [
        # ISO/IEC 14496-15, Annex E, its examples
        ("01 60000000 b00000000000 5d", "hvc1.1.6.L93.B0"),
        ("02 20000000 900000000000 5d", "hvc1.2.4.L93.90"),
        ("64 20000000 900000000000 99", "hvc1.A4.4.H153.90"),
        ("01 60000000 000000000000 78", "hvc1.1.6.L120"),
    ],
)
def test_hevc_codec_strings(general: str, name: str) -> None:
    data = bytearray(bytes.fromhex(general.replace(" ", "")))
    if name.startswith("hvc1.A"):
        data[0] = 0x40 | 0x20 | 4
    assert h26x._hevc_string(bytes(data)) == name


@pytest.mark.parametrize(
    ("config", "name", "rate", "channels", "frame"),
    [
        ("1190", "mp4a.40.2", 48000, 2, 1024),
        ("1210", "mp4a.40.2", 44100, 2, 1024),
        ("1208", "mp4a.40.2", 44100, 1, 1024),
        ("1194", "mp4a.40.2", 48000, 2, 960),
        ("11b0", "mp4a.40.2", 48000, 6, 1024),
        ("11b8", "mp4a.40.2", 48000, 8, 1024),
        ("2b920800", "mp4a.40.5", 44100, 2, 2048),  # HE-AAC, signalled first
        ("eb8a0800", "mp4a.40.29", 44100, 1, 2048),  # HE-AAC v2
        ("139056e5a0", "mp4a.40.2", 44100, 2, 2048),  # HE-AAC, signalled after
        ("178057700010", "mp4a.40.2", 48000, 2, 1024),  # a rate in 24 bits: replaced below
    ],
)
def test_aac(config: str, name: str, rate: int, channels: int, frame: int) -> None:
    data = bytes.fromhex(config)
    if config.startswith("1780"):
        data = int(f"00010{15:04b}{48000:024b}{2:04b}000", 2).to_bytes(5, "big")
    assert aac.parse_asc(data) == (name, rate, channels, frame)


def test_aac_that_is_not() -> None:
    with pytest.raises(UnsupportedMedia, match="object type 36"):
        aac.parse_asc(bytes.fromhex("f8880000"))
    for bad in ("", "11", "1680", "17ffffff00"):
        with pytest.raises(MediaError):
            aac.parse_asc(bytes.fromhex(bad))


def test_opus_heads() -> None:
    head = opus.MAGIC + opus.STEREO
    assert opus.parse_head(head) == (opus.STEREO, 2)
    assert opus.parse_head(opus.STEREO) == (opus.STEREO, 2)
    assert opus.parse_head(b"") == (opus.STEREO, 2)
    for bad in (b"\x01\x02", opus.MAGIC + b"\x11" + opus.STEREO[1:], opus.STEREO[:-1] + b"\x01"):
        with pytest.raises(MediaError):
            opus.parse_head(bad)


@pytest.mark.parametrize(
    ("packet", "samples"),
    [
        (b"\xfc", 960),
        (b"\xfd", 1920),
        (b"\xff\x03", 2880),
        (b"\x18", 2880),
        (b"\xe0", 120),
        (b"\x08", 960),
        (b"\x60", 480),
        (b"", 0),
        (b"\xff", 0),
        (b"\x1b\x3f", 0),
    ],
)
def test_opus_durations(packet: bytes, samples: int) -> None:
    assert opus.packet_samples(packet) == samples


READERS: list[Callable[[bytes], object]] = [
    h26x.parse_avcc,
    h26x.parse_hvcc,
    av1.parse_av1c,
    av1.sequence_header,
    vp9.parse_vpcc,
    vp9.key_frame_size,
    aac.parse_asc,
    opus.parse_head,
    opus.packet_samples,
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(READERS), st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(read: Callable[[bytes], object], data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        read(data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_headers_are_read_or_refused(data: st.DataObject) -> None:
    read, config = data.draw(st.sampled_from(REAL))
    broken = bytearray(config)
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        read(bytes(broken[: data.draw(st.integers(0, len(broken)))]))


REAL: list[tuple[Callable[[bytes], object], bytes]] = [
    (h26x.parse_avcc, extradata("libx264", 320, 180, Fraction(30))),
    (h26x.parse_hvcc, extradata("libx265", 320, 180, Fraction(30))),
    (av1.parse_av1c, av1c(320, 180)),
]
