"""AV1 over RTP (AOMedia, RTP Payload Format for AV1, v1.0.0): OBUs without their sizes, several to a payload."""

from __future__ import annotations

from media.protocols import av1
from media.protocols.errors import MediaError
from media.protocols.rtp.frames import MAX_FRAME, Depacketizer, Frame
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track

PAYLOAD = 1200
MAX_ELEMENTS = 64
"""OBU elements of one payload."""
FRAME_HEADER, FRAME = 3, 6
_UNSENT = frozenset((av1.TEMPORAL_DELIMITER, 8, 15))
"""Delimiters, tile lists and padding (5)."""


class Av1Depacketizer(Depacketizer):
    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        super().__init__(max_frame=max_frame)
        self._header = b""  # the sequence header of the current track
        self._new_header = b""
        self._part: bytearray | None = None
        self._first = -1  # the first byte of the first frame header, -1 before it
        self._count = 0

    def _take(self, payload: bytes, marker: bool) -> bool:
        head = payload[0]
        if bool(head & 0x80) != (self._part is not None):
            return False
        try:
            pieces = elements(payload)
            for i, piece in enumerate(pieces):
                goes_on = i == len(pieces) - 1 and bool(head & 0x40)
                if self._part is None and not goes_on:
                    if not self._obu(piece):
                        return False
                    continue
                part = self._part = bytearray() if self._part is None else self._part
                part += piece
                if len(self._body) + len(part) > self._max_frame:
                    return False
                if not goes_on:
                    self._part = None
                    if not self._obu(bytes(part)):
                        return False
        except MediaError:
            return False
        return bool(pieces)

    def _obu(self, obu: bytes) -> bool:
        """A whole OBU. Raises MediaError."""
        self._count += 1
        if not obu or self._count > av1.MAX_OBUS:
            return False
        kind, _, body, end = next(av1.obus(obu))
        if kind in _UNSENT:
            return True
        payload = obu[body:end]
        extension = obu[1:2] if obu[0] & 4 else b""
        whole = b"".join((bytes((obu[0] | 2,)), extension, av1.build_leb128(len(payload)), payload))
        if kind == av1.SEQUENCE_HEADER:
            self._new_header = whole
        elif kind in (FRAME, FRAME_HEADER) and self._first < 0:
            self._first = payload[0] if payload else 0x80
        self._body += whole
        return True

    def _finish(self) -> Frame | None:
        if self._part is not None:
            raise MediaError("an AV1 OBU has no end")
        if self._first < 0:
            raise MediaError("an AV1 frame has no header")
        key = bool(self._new_header) and not self._first & 0xE0  # neither shown before nor of another frame type
        track = None
        if key and self._new_header != self._header:
            track = self._describe(self._new_header)
            self._header = self._new_header
        if not self._accept(key=key):
            return None
        return Frame(self._timestamp, bytes(self._body), key, track)

    def _describe(self, header: bytes) -> Track:
        config = av1.build_av1c(header)
        told = av1.parse_av1c(config)
        return Track(
            id=1,
            codec=Codec.AV1,
            timescale=VIDEO_TIMESCALE,
            config=config,
            codec_string=told.codec_string,
            width=told.width,
            height=told.height,
            frame_rate=round(told.frame_rate, 3),
        )

    def _clear(self) -> None:
        super()._clear()
        self._new_header = b""
        self._part = None
        self._first = -1
        self._count = 0


def elements(payload: bytes) -> list[bytes]:
    """The OBU elements of a payload (4.4), of which the first and the last may be parts. Raises MediaError."""
    told = payload[0] >> 4 & 3
    found: list[bytes] = []
    at, end = 1, len(payload)
    while at < end:
        size = end - at
        if len(found) + 1 != told:
            size, at = av1.leb128(payload, at)
        if at + size > end or len(found) >= MAX_ELEMENTS:
            raise MediaError("an AV1 payload holds an element that does not fit into it")
        found.append(payload[at : at + size])
        at += size
    if told and len(found) != told:
        raise MediaError("an AV1 payload holds another number of elements than it says")
    return found


class Av1Packetizer:
    def __init__(self, *, payload: int = PAYLOAD) -> None:
        """payload: bytes of a payload at most."""
        self._limit = payload

    def payloads(self, sample: Sample) -> list[bytes]:
        """All of one frame; the last has the marker. Raises MediaError."""
        data, limit = sample.data, self._limit
        out: list[bytes] = []
        held: list[bytes] = []
        room = limit - 1
        continued = False
        first = 0x08 if sample.key else 0
        for kind, start, body, end in av1.obus(data):
            if kind in _UNSENT:
                continue
            extension = data[start + 1 : start + 2] if data[start] & 4 else b""
            obu = bytes((data[start] & 0xFD,)) + extension + data[body:end]
            at = 0
            while at < len(obu):
                size = len(obu) - at
                if size + 2 > room or len(held) >= MAX_ELEMENTS:
                    if room < 16 or len(held) >= MAX_ELEMENTS:
                        out.append(_payload(held, first, continued, more=at > 0))
                        held, room, first, continued = [], limit - 1, 0, at > 0
                    size = min(size, room - 2)
                held += (av1.build_leb128(size), obu[at : at + size])
                room -= size + len(held[-2])
                at += size
        if held:
            out.append(_payload(held, first, continued, more=False))
        return out


def _payload(held: list[bytes], first: int, continued: bool, *, more: bool) -> bytes:
    """W is 0: each element has its size."""
    return bytes((continued << 7 | more << 6 | first,)) + b"".join(held)


def starts_key(payload: bytes) -> bool:
    """Whether a payload begins a coded video sequence, that is a key frame (4.4, N)."""
    return len(payload) > 1 and bool(payload[0] & 0x08) and not payload[0] & 0x80
