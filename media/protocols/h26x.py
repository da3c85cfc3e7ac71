"""H.264 and HEVC decoder configurations (ISO/IEC 14496-15): size, frame rate and codec string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from media.protocols.bits import BitReader, unescape
from media.protocols.errors import MediaError

MAX_CONFIG = 16 * 1024
MAX_SIDE = 16384
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class VideoConfig(NamedTuple):
    """length_size: bytes of a NAL unit's length prefix, 0 where there is none. frame_rate: 0.0 when not told."""

    codec_string: str
    width: int
    height: int
    frame_rate: float = 0.0
    length_size: int = 0


def parse_avcc(config: bytes) -> VideoConfig:
    """AVCDecoderConfigurationRecord (5.3.3.1)."""
    if not 7 <= len(config) <= MAX_CONFIG or config[0] != 1:
        raise MediaError("the H.264 sequence header is not an AVCDecoderConfigurationRecord")
    length_size = (config[4] & 3) + 1
    count = config[5] & 31
    if not count:
        raise MediaError("the H.264 sequence header holds no SPS")
    sps = _unit(config, 6)
    if len(sps) < 4 or sps[0] & 31 != 7:
        raise MediaError("the H.264 sequence header holds no SPS")
    codec = "avc1." + config[1:4].hex().upper()
    told = parse_sps(sps)
    return VideoConfig(codec, told.width, told.height, told.frame_rate, length_size)


def parameter_sets(config: bytes) -> tuple[list[bytes], list[bytes]]:
    """The SPS and the PPS NAL units of an AVCDecoderConfigurationRecord. Raises MediaError."""
    if len(config) < 7:
        raise MediaError("a video sequence header ends too early")
    found: tuple[list[bytes], list[bytes]] = ([], [])
    at = 5
    for units, mask in zip(found, (31, 255), strict=True):
        if at >= len(config):
            raise MediaError("a video sequence header ends too early")
        count = config[at] & mask
        at += 1
        for _ in range(count):
            units.append(_unit(config, at))
            at += 2 + len(units[-1])
    return found


def hevc_sets(config: bytes) -> list[bytes]:
    """The parameter sets of an HEVCDecoderConfigurationRecord, in its order. Raises MediaError."""
    if len(config) < 23:
        raise MediaError("a video sequence header ends too early")
    units: list[bytes] = []
    at = 23
    for _ in range(config[22]):
        if at + 3 > len(config):
            raise MediaError("a video sequence header ends too early")
        count = int.from_bytes(config[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            units.append(_unit(config, at))
            at += 2 + len(units[-1])
    return units


def build_avcc(sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """AVCDecoderConfigurationRecord for NAL units with lengths of four bytes. Raises MediaError."""
    if not sps or not pps or len(sps) > 31 or len(pps) > 255:
        raise MediaError("the H.264 stream lacks its SPS or its PPS")
    told = parse_sps(sps[0])
    parts = [b"\x01", sps[0][1:4], b"\xff", bytes((0xE0 | len(sps),))]
    parts += [len(unit).to_bytes(2, "big") + unit for unit in sps]
    parts.append(bytes((len(pps),)))
    parts += [len(unit).to_bytes(2, "big") + unit for unit in pps]
    if told.profile in (100, 110, 122, 144):
        parts.append(bytes((0xFC | told.chroma, 0xF8 | told.luma_depth - 8, 0xF8 | told.chroma_depth - 8, 0)))
    record = b"".join(parts)
    if len(record) > MAX_CONFIG:
        raise MediaError("the H.264 parameter sets are too long")
    return record


def parse_hvcc(config: bytes) -> VideoConfig:
    """HEVCDecoderConfigurationRecord (8.3.3.1) and the codec string of its Annex E."""
    if not 23 <= len(config) <= MAX_CONFIG or config[0] not in (0, 1):
        raise MediaError("the HEVC sequence header is not an HEVCDecoderConfigurationRecord")
    length_size = (config[21] & 3) + 1
    codec = _hevc_string(config[1:13])
    at = 23
    for _ in range(config[22]):
        if at + 3 > len(config):
            raise MediaError("the HEVC sequence header ends too early")
        kind, count = config[at] & 63, config[at + 1] << 8 | config[at + 2]
        at += 3
        for _ in range(count):
            unit = _unit(config, at)
            at += 2 + len(unit)
            if kind == 33:
                width, height, rate = _hevc_sps(unescape(unit[2:]))
                return VideoConfig(codec, width, height, rate, length_size)
    raise MediaError("the HEVC sequence header holds no SPS")


def _unit(config: bytes, at: int) -> bytes:
    if at + 2 > len(config):
        raise MediaError("a video sequence header ends too early")
    size = config[at] << 8 | config[at + 1]
    unit = config[at + 2 : at + 2 + size]
    if len(unit) < size:
        raise MediaError("a video sequence header ends too early")
    return unit


def _hevc_string(general: bytes) -> str:
    """From general_profile_space to general_level_idc, 12 bytes."""
    space = ("", "A", "B", "C")[general[0] >> 6]
    tier = "H" if general[0] & 0x20 else "L"
    flags = int(f"{int.from_bytes(general[1:5], 'big'):032b}"[::-1], 2)
    constraints = general[5:11].rstrip(b"\x00")
    text = f"hvc1.{space}{general[0] & 31}.{flags:X}.{tier}{general[11]}"
    return text + "".join(f".{byte:X}" for byte in constraints)


class Sps(NamedTuple):
    """What of an H.264 SPS matters here. chroma: chroma_format_idc. order: pic_order_cnt_type. reorder:
    max_num_reorder_frames, None when the VUI does not tell."""

    profile: int
    chroma: int
    luma_depth: int
    chroma_depth: int
    order: int
    width: int
    height: int
    frame_rate: float
    reorder: int | None

    @property
    def may_reorder(self) -> bool:
        """Whether pictures may be shown in another order than they come."""
        return self.profile != 66 and self.order != 2 and self.reorder != 0


def parse_sps(unit: bytes) -> Sps:
    """An H.264 SPS NAL unit (H.264, 7.3.2.1.1). Raises MediaError."""
    if len(unit) < 4 or len(unit) > MAX_CONFIG or unit[0] & 31 != 7:
        raise MediaError("what should be an H.264 SPS is none")
    r = BitReader(unescape(unit[1:]))
    profile = r.bits(8)
    r.skip(16)
    r.ue()
    chroma, separate, luma_depth, chroma_depth = 1, False, 8, 8
    if profile in _HIGH_PROFILES:
        chroma = r.ue()
        if chroma == 3:
            separate = r.flag()
        luma_depth, chroma_depth = r.ue() + 8, r.ue() + 8
        if chroma > 3 or luma_depth > 14 or chroma_depth > 14:
            raise MediaError("the H.264 SPS is damaged")
        r.skip(1)
        if r.flag():
            for i in range(8 if chroma != 3 else 12):
                if r.flag():
                    _skip_scaling(r, 16 if i < 6 else 64)
    r.ue()
    order = r.ue()
    if order == 0:
        r.ue()
    elif order == 1:
        r.skip(1)
        r.se()
        r.se()
        count = r.ue()
        if count > 255:
            raise MediaError("the H.264 SPS is damaged")
        for _ in range(count):
            r.se()
    r.ue()
    r.skip(1)
    columns, rows = r.ue() + 1, r.ue() + 1
    progressive = r.flag()
    if not progressive:
        r.skip(1)
    r.skip(1)
    width, height = columns * 16, rows * 16 * (1 if progressive else 2)
    if r.flag():
        left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
        across = 2 if chroma in (1, 2) and not separate else 1
        down = (2 if chroma == 1 and not separate else 1) * (1 if progressive else 2)
        width -= (left + right) * across
        height -= (top + bottom) * down
    check_size(width, height)
    rate, reorder = _h264_vui(r)
    return Sps(profile, chroma, luma_depth, chroma_depth, order, width, height, rate, reorder)


def _h264_vui(r: BitReader) -> tuple[float, int | None]:
    """Frame rate and max_num_reorder_frames, of a VUI (E.1.1) that ends early in many streams."""
    rate = 0.0
    try:
        if not r.flag():
            return rate, None
        _skip_picture_hints(r)
        if r.flag():
            rate = _rate(r.bits(32), r.bits(32), fields=2)
            r.skip(1)
        buffered = [_skip_h264_buffering(r) for _ in range(2)]
        if any(buffered):
            r.skip(1)
        r.skip(1)
        if not r.flag():
            return rate, None
        r.skip(1)
        for _ in range(4):
            r.ue()
        return rate, r.ue()
    except MediaError:
        return rate, None


def _skip_h264_buffering(r: BitReader) -> bool:
    """The parameters of the hypothetical decoder, where there are any (E.1.2)."""
    if not r.flag():
        return False
    count = r.ue() + 1
    if count > 32:
        raise MediaError("the H.264 SPS is damaged")
    r.skip(8)
    for _ in range(count):
        r.ue()
        r.ue()
        r.skip(1)
    r.skip(20)
    return True


def _skip_picture_hints(r: BitReader) -> None:
    """The VUI of both codecs begins alike: aspect ratio, overscan, colours, places of the chroma samples."""
    if r.flag() and r.bits(8) == 255:
        r.skip(32)
    if r.flag():
        r.skip(1)
    if r.flag():
        r.skip(4)
        if r.flag():
            r.skip(24)
    if r.flag():
        r.ue()
        r.ue()


def _skip_scaling(r: BitReader, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + r.se()) % 256
        last = following or last


def _hevc_sps(data: bytes) -> tuple[int, int, float]:
    """Width, height, frame rate (H.265, 7.3.2.2.1)."""
    r = BitReader(data)
    r.skip(4)
    layers = r.bits(3)
    r.skip(1)
    _skip_profile(r, layers)
    r.ue()
    chroma = r.ue()
    separate = r.flag() if chroma == 3 else False
    width, height = r.ue(), r.ue()
    if r.flag():
        left, right, top, bottom = r.ue(), r.ue(), r.ue(), r.ue()
        across = 2 if chroma in (1, 2) and not separate else 1
        down = 2 if chroma == 1 and not separate else 1
        width -= (left + right) * across
        height -= (top + bottom) * down
    check_size(width, height)
    try:
        return width, height, _hevc_rate(r, layers)
    except MediaError:
        return width, height, 0.0


def _skip_profile(r: BitReader, layers: int) -> None:
    r.skip(96)
    if not layers:
        return
    present = [(r.flag(), r.flag()) for _ in range(layers)]
    r.skip(2 * (8 - layers))
    for profile, level in present:
        r.skip((88 if profile else 0) + (8 if level else 0))


def _hevc_rate(r: BitReader, layers: int) -> float:
    """On from the conformance window to the VUI's timing (E.2.1)."""
    r.ue()
    r.ue()
    poc_bits = r.ue() + 4
    for _ in range(layers + 1 if r.flag() else 1):
        r.ue()
        r.ue()
        r.ue()
    for _ in range(6):
        r.ue()
    if r.flag() and r.flag():
        _skip_hevc_scaling(r)
    r.skip(2)
    if r.flag():
        r.skip(8)
        r.ue()
        r.ue()
        r.skip(1)
    _skip_short_term_sets(r)
    if r.flag():
        count = r.ue()
        if count > 32:
            raise MediaError("the HEVC SPS is damaged")
        r.skip(count * (poc_bits + 1))
    r.skip(2)
    if not r.flag():
        return 0.0
    _skip_picture_hints(r)
    r.skip(3)
    if r.flag():
        for _ in range(4):
            r.ue()
    if not r.flag():
        return 0.0
    return _rate(r.bits(32), r.bits(32), fields=1)


def _skip_hevc_scaling(r: BitReader) -> None:
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not r.flag():
                r.ue()
                continue
            if size > 1:
                r.se()
            for _ in range(min(64, 1 << (4 + (size << 1)))):
                r.se()


def _skip_short_term_sets(r: BitReader) -> None:
    """7.3.7: a set may be predicted from the one before it."""
    count = r.ue()
    if count > 64:
        raise MediaError("the HEVC SPS is damaged")
    before = 0
    for index in range(count):
        if index and r.flag():
            r.skip(1)
            r.ue()
            kept = 0
            for _ in range(before + 1):
                used = r.flag()
                if used or r.flag():
                    kept += 1
            before = kept
        else:
            negative, positive = r.ue(), r.ue()
            if negative > 16 or positive > 16:
                raise MediaError("the HEVC SPS is damaged")
            for _ in range(negative + positive):
                r.ue()
                r.skip(1)
            before = negative + positive


def _rate(units: int, scale: int, *, fields: int) -> float:
    if not units or not scale:
        return 0.0
    rate = scale / (fields * units)
    return rate if rate <= 1000 else 0.0


def check_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MediaError(f"a picture of {width} by {height}; at most {MAX_SIDE} each way is taken")
