"""Opus: the identification header (RFC 7845, 5.1) and the duration of a packet (RFC 6716, 3.1)."""

from __future__ import annotations

from typing import NamedTuple

from media.protocols.errors import MediaError

RATE = 48_000
MAGIC = b"OpusHead"
STEREO = bytes((1, 2, 0x38, 1)) + RATE.to_bytes(4, "little") + bytes(3)
"""What stands for a header that an encoder leaves empty: two channels, 312 samples to skip."""

_FRAME = (480, 960, 1920, 2880) * 3 + (480, 960) * 2 + (120, 240, 480, 960) * 4


class OpusConfig(NamedTuple):
    """head: OpusHead without its magic."""

    head: bytes
    channels: int


def parse_head(config: bytes) -> OpusConfig:
    head = config.removeprefix(MAGIC) or STEREO
    if not 11 <= len(head) <= 300 or head[0] >> 4 or not head[1]:
        raise MediaError("the Opus sequence header is not an OpusHead")
    if head[10] and len(head) < 13 + head[1]:
        raise MediaError("the Opus sequence header ends too early")
    return OpusConfig(head, head[1])


def packet_samples(packet: bytes) -> int:
    """Samples at 48 kHz; 0 for a packet that cannot be (RFC 6716 caps one at 120 ms)."""
    if not packet:
        return 0
    code = packet[0] & 3
    count = 1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
    samples = _FRAME[packet[0] >> 3] * count
    return samples if samples <= 5760 else 0
