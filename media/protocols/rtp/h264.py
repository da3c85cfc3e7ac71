"""H.264 over RTP (RFC 6184), packetization modes 0 and 1: single NAL units, STAP-A and FU-A.

In: access units with lengths of four bytes before their NAL units, parameter sets taken out into the track's avcC.
Out: payloads that no viewer's identity is in, so that they are made once for all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from math import ceil

from media.protocols.errors import MediaError
from media.protocols.h26x import build_avcc, parameter_sets, parse_avcc, parse_sps
from media.protocols.rtp.frames import MAX_FRAME, Depacketizer, Frame
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track

IDR, SEI, SPS, PPS = 5, 6, 7, 8
STAP_A, FU_A = 24, 28
PAYLOAD = 1200
MAX_UNITS = 1024
"""NAL units of one frame."""
MAX_SET = 4096
MAX_SETS = 31
"""Bytes of one parameter set, and how many of each kind are kept."""

_KEPT = frozenset((1, 2, 3, 4, 5, 6, 19))
"""Slices and SEI: what goes into a sample. Delimiters, fillers and the layers of SVC and MVC do not."""
_u32_into = struct.Struct(">I").pack_into
_LENGTH = bytes(4)


class H264Depacketizer(Depacketizer):
    def __init__(self, *, sets: Iterable[bytes] = (), max_frame: int = MAX_FRAME) -> None:
        """sets: SPS and PPS NAL units of the SDP (sprop-parameter-sets), for senders that send none in-band."""
        super().__init__(max_frame=max_frame)
        self._sps: dict[bytes, None] = {}
        self._pps: dict[bytes, None] = {}
        self._config: tuple[tuple[bytes, ...], tuple[bytes, ...]] | None = None  # the sets of the current track
        self._fragment = -1  # where in the body the unit lies that is coming in fragments
        self._units = 0
        self._key = self._slices = self._new_sps = self._new_pps = self._sends_sets = False
        for unit in sets:
            if unit and unit[0] & 31 in (SPS, PPS):
                self._keep_set(unit)
        self._clear()

    def _take(self, payload: bytes, marker: bool) -> bool:
        head = payload[0]
        kind = head & 31
        body = self._body
        if kind == FU_A:
            if len(payload) < 3:
                return False
            part = payload[1]
            if part & 0x80:
                if self._fragment >= 0 or head & 0x80 or not 0 < part & 31 < 24:
                    return False
                self._fragment = len(body)
                body += _LENGTH
                body.append(head & 0x60 | part & 31)
            elif self._fragment < 0 or body[self._fragment + 4] & 31 != part & 31:
                return False
            body += payload[2:]
            return self._fragment_end() if part & 0x40 else True
        if self._fragment >= 0:
            return False
        if 0 < kind < 24:
            return self._unit(payload)
        return kind == STAP_A and self._aggregate(payload)

    def _aggregate(self, payload: bytes) -> bool:
        at, end = 1, len(payload)
        while at < end:
            if at + 2 > end:
                return False
            size = payload[at] << 8 | payload[at + 1]
            at += 2
            if not size or at + size > end:
                return False
            if not 0 < payload[at] & 31 < 24 or not self._unit(payload[at : at + size]):
                return False
            at += size
        return end > 1

    def _fragment_end(self) -> bool:
        start, self._fragment = self._fragment, -1
        body = self._body
        kind = body[start + 4] & 31
        if kind in _KEPT:
            _u32_into(body, start, len(body) - start - 4)
            return self._kept(kind, body[start + 5])
        unit = bytes(body[start + 4 :])
        del body[start:]
        return self._unit(unit)

    def _unit(self, unit: bytes) -> bool:
        """A whole NAL unit; whether the frame may hold it."""
        kind = unit[0] & 31
        if unit[0] & 0x80:
            return False
        if kind in (SPS, PPS):
            return self._keep_set(unit)
        if kind not in _KEPT:
            return True
        if len(unit) < 2 or len(self._body) + 4 + len(unit) > self._max_frame:
            return False
        self._body += len(unit).to_bytes(4, "big")
        self._body += unit
        return self._kept(kind, unit[1])

    def _kept(self, kind: int, first: int) -> bool:
        """first: the byte after the header; of a slice, its top bit says that it begins at the first macroblock."""
        self._units += 1
        if self._units > MAX_UNITS:
            return False
        if kind == SEI:
            return True
        if not self._slices:
            self._slices = True
            if self._after_loss and not first & 0x80:
                return False
        if kind == IDR:
            self._key = True
        return True

    def _keep_set(self, unit: bytes) -> bool:
        """The first set of its kind in a frame puts aside what earlier frames brought."""
        if not 2 <= len(unit) <= MAX_SET:
            return False
        if unit[0] & 31 == SPS:
            if not self._new_sps:
                self._sps = {}
            self._new_sps = True
            kept = self._sps
        else:
            if not self._new_pps:
                self._pps = {}
            self._new_pps = True
            kept = self._pps
        kept[unit] = None
        return len(kept) <= MAX_SETS

    def _finish(self) -> Frame | None:
        if self._fragment >= 0:
            raise MediaError("a fragmented NAL unit has no end")
        if not self._slices:
            return None
        track = None
        sets = tuple(self._sps), tuple(self._pps)
        changed = sets != self._config
        if self._key:
            if self._after_loss and self._sends_sets and not (self._new_sps and self._new_pps):
                raise MediaError("a key frame has lost its parameter sets")
            if changed:
                track = self._describe(*sets)
                self._config = sets
            self._sends_sets = self._new_sps and self._new_pps
        elif changed and not self.wants_key:
            # avcC belongs to a whole track: new sets begin with a key frame, or what uses them cannot be shown
            self.wants_key = True
        if not self._accept(key=self._key):
            return None
        return Frame(self._timestamp, bytes(self._body), self._key, track)

    def _describe(self, sps: tuple[bytes, ...], pps: tuple[bytes, ...]) -> Track:
        config = build_avcc(sps, pps)
        told = parse_avcc(config)
        return Track(
            id=1,
            codec=Codec.H264,
            timescale=VIDEO_TIMESCALE,
            config=config,
            codec_string=told.codec_string,
            width=told.width,
            height=told.height,
            frame_rate=round(told.frame_rate, 3),
        )

    def _clear(self) -> None:
        super()._clear()
        self._fragment = -1
        self._units = 0
        self._key = self._slices = self._new_sps = self._new_pps = False


class H264Packetizer:
    """Payloads of one track's samples. A new track needs a new one."""

    def __init__(self, track: Track, *, payload: int = PAYLOAD) -> None:
        """payload: bytes of a payload at most. Raises MediaError."""
        sps, pps = parameter_sets(track.config)
        self._sets = [*sps, *pps]
        self._size = (track.config[4] & 3) + 1
        self._payload = payload

    def payloads(self, sample: Sample) -> list[bytes]:
        """All of one frame, with one timestamp; the last has the marker. Empty when nothing is left to send.

        Before a key frame come the parameter sets, small NAL units share a payload, a large one is cut into fragments
        of which all but the last are equally long. Raises MediaError.
        """
        data, limit = sample.data, self._payload
        out: list[bytes] = []
        small: list[bytes] = list(self._sets) if sample.key else []
        room = limit - 1 - sum(2 + len(unit) for unit in small)
        if room < 0:
            raise MediaError(f"the H.264 parameter sets do not fit a packet of {limit} bytes")
        sent = False
        for start, end in units(data, self._size):
            kind = data[start] & 31
            if not 0 < kind < 6:
                continue  # only slices: parameter sets go before key frames, the rest no player needs
            sent = True
            length = end - start
            if 2 + length <= room:
                small.append(data[start:end])
                room -= 2 + length
                continue
            _aggregated(out, small)
            small, room = [], limit - 1
            if 2 + length <= room:
                small.append(data[start:end])
                room -= 2 + length
            elif length <= limit:
                out.append(data[start:end])
            else:
                _fragments(out, data, start, end, limit)
        _aggregated(out, small)
        return out if sent else []


def _aggregated(out: list[bytes], small: list[bytes]) -> None:
    """STAP-A (5.7.1): its NRI is the highest of those within."""
    if len(small) == 1:
        out.append(small[0])
    elif small:
        parts = [bytes((max(unit[0] & 0x60 for unit in small) | STAP_A,))]
        for unit in small:
            parts += (len(unit).to_bytes(2, "big"), unit)
        out.append(b"".join(parts))


def _fragments(out: list[bytes], data: bytes, start: int, end: int, limit: int) -> None:
    """FU-A (5.8): the NAL unit's header goes into those of the fragments."""
    head = data[start]
    indicator, kind = head & 0x60 | FU_A, head & 31
    length = end - start - 1
    piece = ceil(length / ceil(length / (limit - 2)))
    middle = bytes((indicator, kind))
    at = start + 1
    out.append(bytes((indicator, 0x80 | kind)) + data[at : at + piece])
    at += piece
    last = end - piece
    while at < last:
        out.append(middle + data[at : at + piece])
        at += piece
    out.append(bytes((indicator, 0x40 | kind)) + data[at:end])


def units(data: bytes, length_size: int = 4) -> Iterator[tuple[int, int]]:
    """(start, end) of each NAL unit, without its length. Raises MediaError for a length that does not fit."""
    at, end = 0, len(data)
    while at < end:
        start = at + length_size
        at = start + int.from_bytes(data[at:start], "big")
        if at > end or at == start:
            raise MediaError("an H.264 frame holds a NAL unit that does not fit into it")
        yield start, at


def disposable(data: bytes, length_size: int = 4) -> bool:
    """Whether no other frame refers to this one: each of its slices has nal_ref_idc 0. Raises MediaError."""
    heads = [data[start] for start, _ in units(data, length_size) if 0 < data[start] & 31 < 6]
    return bool(heads) and not any(head & 0x60 for head in heads)


def may_reorder(track: Track) -> bool:
    """Whether the SPS allows B-frames: then look at the samples, with `Reordering`. Raises MediaError."""
    return any(parse_sps(unit).may_reorder for unit in parameter_sets(track.config)[0])


class Reordering:
    """Which samples of a track can be sent to players that show frames in the order in which they come.

    Frames that are shown before one that was sent already are B-frames: disposable ones are left out. When others
    refer to one, `needed` turns true for good: such a stream cannot be played in this way.
    """

    def __init__(self, track: Track) -> None:
        self.needed = False
        self.left_out = 0
        self._size = (track.config[4] & 3) + 1
        self._highest = -(1 << 62)

    def sendable(self, sample: Sample) -> bool:
        if sample.pts > self._highest or sample.key:
            self._highest = sample.pts
            return True
        try:
            if disposable(sample.data, self._size):
                self.left_out += 1
                return False
        except MediaError:
            return False
        self.needed = True
        return False


def starts_key(payload: bytes) -> bool:
    """Whether a payload begins a key frame: its SPS, or the beginning of its first IDR slice."""
    if len(payload) < 2:
        return False
    kind = payload[0] & 31
    if kind == FU_A:
        return payload[1] & 0x80 != 0 and payload[1] & 31 == IDR and len(payload) > 2 and payload[2] & 0x80 != 0
    if kind == STAP_A:
        at = 1
        while at + 2 < len(payload):
            if payload[at + 2] & 31 in (SPS, IDR):
                return True
            at += 2 + (payload[at] << 8 | payload[at + 1])
        return False
    return kind == SPS or (kind == IDR and payload[1] & 0x80 != 0)
