"""VP9 over RTP (RFC 9628), flexible and not, with or without spatial layers."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from media.protocols import vp9
from media.protocols.errors import MediaError, RtpError
from media.protocols.rtp.frames import MAX_FRAME, Depacketizer, Frame
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track

PAYLOAD = 1200
MAX_LAYERS = 8


class Descriptor(NamedTuple):
    """What stands before the bytes of a frame (4.2). picture: -1 when not told. size: of the highest spatial layer,
    (0, 0) when not told. length: of the descriptor."""

    inter: bool
    begins: bool
    ends: bool
    picture: int
    temporal: int
    spatial: int
    switch: bool
    size: tuple[int, int]
    length: int


def descriptor(payload: bytes) -> Descriptor:
    """Raises RtpError."""
    try:
        return _descriptor(payload)
    except IndexError:
        raise RtpError("a VP9 payload ends within its descriptor") from None


def _descriptor(payload: bytes) -> Descriptor:
    flags = payload[0]
    at = 1
    picture = -1
    temporal = spatial = 0
    switch = False
    if flags & 0x80:
        picture = payload[at]
        at += 1
        if picture & 0x80:
            picture = (picture & 0x7F) << 8 | payload[at]
            at += 1
    flexible = flags & 0x10
    if flags & 0x20:
        layer = payload[at]
        temporal, switch, spatial = layer >> 5, bool(layer & 0x10), layer >> 1 & 7
        at += 1 if flexible else 2
    if flexible and flags & 0x40:
        for _ in range(3):
            more = payload[at] & 1
            at += 1
            if not more:
                break
    size = 0, 0
    if flags & 0x02:
        at, size = _structure(payload, at)
    if at > len(payload):
        raise IndexError
    return Descriptor(
        bool(flags & 0x40), bool(flags & 0x08), bool(flags & 0x04), picture, temporal, spatial, switch, size, at
    )


def _structure(payload: bytes, at: int) -> tuple[int, tuple[int, int]]:
    """The scalability structure (4.2.1): where it ends, and the size of the highest spatial layer."""
    head = payload[at]
    at += 1
    size = 0, 0
    if head & 0x10:
        at += 4 * (head >> 5)
        size = payload[at] << 8 | payload[at + 1], payload[at + 2] << 8 | payload[at + 3]
        at += 4
    if head & 0x08:
        count = payload[at]
        at += 1
        for _ in range(count):
            at += 1 + (payload[at] >> 2 & 3)
    return at, size


class Vp9Depacketizer(Depacketizer):
    """Spatial layers of one picture become one superframe, as files have them (VP9 bitstream, Annex B)."""

    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(max_frame=max_frame)
        self._layers: list[int] = []  # where each layer's frame begins
        self._open = self._key = False
        self._size = (0, 0)
        self._described: tuple[vp9.KeyFrame, tuple[int, int]] | None = None

    def _take(self, payload: bytes, marker: bool) -> bool:
        try:
            head = descriptor(payload)
        except RtpError:
            return False
        if head.length == len(payload):
            return False
        if head.begins:
            if self._open or len(self._layers) >= MAX_LAYERS:
                return False
            if not self._layers:
                if head.spatial:
                    return False
                self._key = not head.inter and vp9.is_key(payload[head.length : head.length + 1])
            self._layers.append(len(self._body))
            self._open = True
        elif not self._open:
            return False
        if head.size != (0, 0):
            self._size = head.size
        self._body += payload[head.length :]
        if head.ends:
            self._open = False
        return True

    def _finish(self) -> Frame | None:
        if self._open or not self._layers:
            raise MediaError("a VP9 frame has no end")
        data = bytes(self._body)
        track = None
        if self._key:
            told = vp9.key_frame(data)
            described = told, self._size if len(self._layers) > 1 else (0, 0)
            if described != self._described:
                track = self._describe(*described)
                self._described = described
        if not self._accept(key=self._key):
            return None
        if len(self._layers) > 1:
            data += self._index(len(data))
        return Frame(self._timestamp, data, self._key, track)

    def _index(self, end: int) -> bytes:
        ends = [*self._layers[1:], end]
        sizes = [stop - start for start, stop in zip(self._layers, ends, strict=True)]
        width = ceil(max(sizes).bit_length() / 8)
        mark = bytes((0xC0 | (width - 1) << 3 | len(sizes) - 1,))
        return b"".join((mark, *(size.to_bytes(width, "little") for size in sizes), mark))

    def _describe(self, told: vp9.KeyFrame, size: tuple[int, int]) -> Track:
        if all(size):
            told = told._replace(width=size[0], height=size[1])
        config, name = vp9.build_vpcc(told)
        return Track(
            id=1,
            codec=Codec.VP9,
            timescale=VIDEO_TIMESCALE,
            config=config,
            codec_string=name,
            width=told.width,
            height=told.height,
        )

    def _clear(self) -> None:
        super()._clear()
        self._layers = []
        self._open = self._key = False


class Vp9Packetizer:
    """Payloads of samples without spatial layers; pictures are numbered from 0."""

    def __init__(self, *, payload: int = PAYLOAD) -> None:
        """payload: bytes of a payload at most."""
        self._room = payload - 3
        self._picture = 0

    def payloads(self, sample: Sample) -> list[bytes]:
        """All of one frame, all but the last equally long; the last has the marker."""
        data = sample.data
        number = (0x8000 | self._picture).to_bytes(2, "big")
        self._picture = (self._picture + 1) & 0x7FFF
        count = max(1, ceil(len(data) / self._room))
        piece = ceil(len(data) / count)
        flags = 0x80 if sample.key else 0xC0
        out = []
        for at in range(0, len(data), piece):
            edge = (0 if at else 0x08) | (0x04 if at + piece >= len(data) else 0)
            out.append(bytes((flags | edge,)) + number + data[at : at + piece])
        return out


def starts_key(payload: bytes) -> bool:
    """Whether a payload begins a key frame."""
    try:
        head = descriptor(payload)
    except RtpError:
        return False
    first = payload[head.length : head.length + 1]
    return head.begins and not head.inter and not head.spatial and vp9.is_key(first)
