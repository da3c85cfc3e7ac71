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
            size, body = leb128(data, body)
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
            r = BitReader(config[4 + body : 4 + end])
            width, height, rate = _sequence(r)
            return VideoConfig(_codec_string(config), width, height, rate)
    raise MediaError("the AV1 configuration holds no sequence header")


def build_av1c(header: bytes) -> bytes:
    """AV1CodecConfigurationRecord of a sequence header OBU, whole and with its size. Raises MediaError."""
    kind, _, body, end = next(obus(header), (0, 0, 0, 0))
    if kind != SEQUENCE_HEADER:
        raise MediaError("the AV1 stream has no sequence header")
    payload = header[body:end]
    r = BitReader(payload)
    _sequence(r)
    reduced = bool(payload[0] & 8)
    if not reduced and r.flag():
        r.skip(7)
    r.skip(3)
    if not reduced:
        r.skip(4)
        order = r.flag()
        if order:
            r.skip(2)
        if (r.flag() or r.flag()) and not r.flag():  # screen content tools, chosen in each frame or forced
            r.skip(1)
        if order:
            r.skip(3)
    r.skip(3)
    profile = payload[0] >> 5
    level, tier = _level(payload, reduced=reduced)
    first = 0x81, profile << 5 | level, tier << 7 | _colours(r, profile), 0
    return bytes(first) + header[:end]


def _level(payload: bytes, *, reduced: bool) -> tuple[int, int]:
    """seq_level_idx and seq_tier of the first operating point (5.5.1)."""
    r = BitReader(payload)
    r.skip(5)
    if reduced:
        return r.bits(5), 0
    if r.flag():
        r.skip(64)
        if r.flag():
            _uvlc(r)
        if r.flag():
            r.skip(5 + 32 + 5 + 5)
    r.skip(1 + 5 + 12)
    level = r.bits(5)
    return level, r.bits(1) if level > 7 else 0


def _colours(r: BitReader, profile: int) -> int:
    """The seven low bits of av1C's third byte, from color_config (5.5.2)."""
    high = r.flag()
    twelve = profile == 2 and high and r.flag()
    mono = profile != 1 and r.flag()
    described = (r.bits(8), r.bits(8), r.bits(8)) if r.flag() else (2, 2, 2)
    across = down = True
    place = 0
    if mono:
        r.skip(1)
    elif described == (1, 13, 0):
        across = down = False
    else:
        r.skip(1)
        if profile == 1:
            across = down = False
        elif profile == 2:
            across = r.flag() if twelve else True
            down = across and twelve and r.flag()
        if across and down:
            place = r.bits(2)
    return high << 6 | twelve << 5 | mono << 4 | across << 3 | down << 2 | place


def _codec_string(config: bytes) -> str:
    """av01.P.LLT.DD (AV1 in ISO-BMFF, section 5)."""
    profile, level = config[1] >> 5, config[1] & 31
    tier = "H" if config[2] & 0x80 else "M"
    depth = 8 if not config[2] & 0x40 else 12 if profile == 2 and config[2] & 0x20 else 10
    return f"av01.{profile}.{level:02d}{tier}.{depth:02d}"


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends (4.10.5). Raises MediaError."""
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


def _sequence(r: BitReader) -> tuple[int, int, float]:
    """Width, height, frame rate of a sequence header OBU's payload (5.5.1), read as far as them."""
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


def build_leb128(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _uvlc(r: BitReader) -> int:
    zeros = 0
    while not r.flag():
        zeros += 1
        if zeros >= 32:
            raise MediaError("the AV1 sequence header is damaged")
    return r.bits(zeros) + (1 << zeros) - 1
