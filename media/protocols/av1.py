"""AV1: the decoder configuration (av1C) and its sequence header OBU (AV1 specification, 5.5)."""

from __future__ import annotations

from collections.abc import Iterator

from media.protocols.bits import BitReader
from media.protocols.errors import MediaError
from media.protocols.h26x import MAX_CONFIG, VideoConfig, check_size

SEQUENCE_HEADER = 1
TEMPORAL_DELIMITER = 2
MAX_OBUS = 256


def obus(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, start, start of the payload, end) of each OBU in low-overhead format."""
    at = 0
    for _ in range(MAX_OBUS):
        if at >= len(data):
            return
        head = data[at]
        body = at + 2 if head & 4 else at + 1
        if head & 0x80 or body > len(data):
            raise MediaError("the AV1 stream holds a damaged OBU")
        size = len(data) - body
        if head & 2:
            size, body = _leb128(data, body)
        if body + size > len(data):
            raise MediaError("the AV1 stream holds an OBU that ends too early")
        yield head >> 3 & 15, at, body, body + size
        at = body + size
    raise MediaError(f"the AV1 stream holds more than {MAX_OBUS} OBUs in one frame")


def without_delimiter(data: bytes) -> bytes:
    """A temporal unit as ISO-BMFF stores it: without the temporal delimiter it begins with."""
    return data[2:] if data[:2] == b"\x12\x00" else data


def sequence_header(data: bytes) -> bytes:
    """The first sequence header OBU in `data`, whole; b"" when there is none."""
    return next((data[start:end] for kind, start, _, end in obus(data) if kind == SEQUENCE_HEADER), b"")


def parse_av1c(config: bytes) -> VideoConfig:
    """AV1CodecConfigurationRecord (AV1 in ISO-BMFF, 2.3). Raises MediaError when it holds no sequence header."""
    if not 4 <= len(config) <= MAX_CONFIG or config[0] != 0x81:
        raise MediaError("the AV1 sequence header is not an AV1CodecConfigurationRecord")
    for kind, _, body, end in obus(config[4:]):
        if kind == SEQUENCE_HEADER:
            width, height, rate = _sequence(config[4 + body : 4 + end])
            return VideoConfig(_codec_string(config), width, height, rate)
    raise MediaError("the AV1 configuration holds no sequence header")


def _codec_string(config: bytes) -> str:
    """av01.P.LLT.DD (AV1 in ISO-BMFF, section 5)."""
    profile, level = config[1] >> 5, config[1] & 31
    tier = "H" if config[2] & 0x80 else "M"
    depth = 8 if not config[2] & 0x40 else 12 if profile == 2 and config[2] & 0x20 else 10
    return f"av01.{profile}.{level:02d}{tier}.{depth:02d}"


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(8):
        if at >= len(data):
            break
        piece = data[at]
        at += 1
        value |= (piece & 0x7F) << (7 * i)
        if piece < 0x80:
            return value, at
    raise MediaError("the AV1 stream holds a damaged size")


def _sequence(data: bytes) -> tuple[int, int, float]:
    """Width, height, frame rate of a sequence header OBU's payload (5.5.1)."""
    r = BitReader(data)
    r.skip(4)  # seq_profile, still_picture
    rate = 0.0
    if r.flag():  # reduced_still_picture_header
        r.skip(5)
    else:
        model, delay_bits = False, 0
        if r.flag():
            units, scale = r.bits(32), r.bits(32)
            if r.flag() and units and scale:
                rate = scale / (units * (_uvlc(r) + 1))
            model = r.flag()
            if model:
                delay_bits = r.bits(5) + 1
                r.skip(32 + 5 + 5)
        display = r.flag()
        for _ in range(r.bits(5) + 1):
            r.skip(12)
            if r.bits(5) > 7:
                r.skip(1)
            if model and r.flag():
                r.skip(2 * delay_bits + 1)
            if display and r.flag():
                r.skip(4)
    width_bits, height_bits = r.bits(4) + 1, r.bits(4) + 1
    width, height = r.bits(width_bits) + 1, r.bits(height_bits) + 1
    check_size(width, height)
    return width, height, rate if rate <= 1000 else 0.0


def _uvlc(r: BitReader) -> int:
    zeros = 0
    while not r.flag():
        zeros += 1
        if zeros >= 32:
            raise MediaError("the AV1 sequence header is damaged")
    return r.bits(zeros) + (1 << zeros) - 1
