"""AAC: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1)."""

from __future__ import annotations

from typing import NamedTuple

from media.protocols.bits import BitReader
from media.protocols.errors import MediaError, UnsupportedMedia

RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 0, 8)
SBR, PS = 5, 29
CARRIED = (1, 2, 3, 4, 23, 39, 42)
SYNC_EXTENSION = 0x2B7


class AacConfig(NamedTuple):
    """sample_rate: Hz of what a decoder puts out, when the header says so. frame: samples per frame at that rate."""

    codec_string: str
    sample_rate: int
    channels: int
    frame: int


def parse_asc(config: bytes) -> AacConfig:
    if not 2 <= len(config) <= 1024:
        raise MediaError("the AAC sequence header is not an AudioSpecificConfig")
    r = BitReader(config)
    kind = announced = _object_type(r)
    core = output = _rate(r)
    layout = r.bits(4)
    if kind in (SBR, PS):
        output = _rate(r)
        kind = _object_type(r)
    if kind not in CARRIED:
        raise UnsupportedMedia(f"AAC of object type {kind} cannot be carried: set the encoder to AAC-LC or HE-AAC")
    short = r.flag() if r.left else False
    channels = CHANNELS[layout] if layout < len(CHANNELS) else 0
    if not channels:
        channels = _program_channels(r)
    elif announced == kind and kind == 2 and layout:
        output = _late_sbr(r, output)
    frame = 512 if kind in (23, 39) else 1024
    if short:
        frame = 480 if kind in (23, 39) else 960
    return AacConfig(f"mp4a.40.{announced}", output, channels, frame * output // core)


def without_adts(frame: bytes) -> bytes:
    """A raw frame: some encoders leave an ADTS header on it."""
    if len(frame) > 7 and frame[0] == 0xFF and frame[1] & 0xF6 == 0xF0:
        size = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
        if size == len(frame):
            return frame[7 if frame[1] & 1 else 9 :]
    return frame


def _object_type(r: BitReader) -> int:
    kind = r.bits(5)
    return 32 + r.bits(6) if kind == 31 else kind


def _rate(r: BitReader) -> int:
    index = r.bits(4)
    rate = r.bits(24) if index == 15 else RATES[index] if index < len(RATES) else 0
    if not 7350 <= rate <= 192_000:
        raise MediaError(f"the AAC sequence header tells an impossible sample rate ({rate})")
    return rate


def _late_sbr(r: BitReader, rate: int) -> int:
    """Backward compatible signalling: the rate of an extension after the configuration, if there is one."""
    try:
        if r.flag():
            r.skip(14)
        r.skip(1)
        if r.left >= 16 and r.bits(11) == SYNC_EXTENSION and _object_type(r) == SBR and r.flag():
            return _rate(r)
    except MediaError:
        pass
    return rate


def _program_channels(r: BitReader) -> int:
    """From a program configuration element (4.4.1.1), which stands where no channel layout has a number."""
    if r.flag():
        r.skip(14)
    r.skip(1 + 4 + 2 + 4)
    front, side, back, low = r.bits(4), r.bits(4), r.bits(4), r.bits(2)
    r.skip(3 + 4)
    for width in (4, 4, 3):
        if r.flag():
            r.skip(width)
    channels = low
    for _ in range(front + side + back):
        channels += 2 if r.flag() else 1
        r.skip(4)
    if not channels:
        raise MediaError("the AAC sequence header tells no channels")
    return channels
