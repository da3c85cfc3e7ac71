"""`python -m media.vod.cutting`: the edges of a cut, each as a segment that fits those that are copied.

What can be decoded without what is cut off is passed on as it is. The rest is decoded and encoded anew, in the source's
size, profile and level and without reordering. H.264 encodings name parameter sets of their own, which stand beside the
source's in the init segment: so one init segment is right for all segments of the set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from media.package.cmaf import fragment
from media.protocols.av1 import without_delimiter
from media.protocols.bits import BitReader, unescape
from media.protocols.errors import MediaError
from media.protocols.h26x import parameter_sets
from media.vod.coded import H264_PPS, H264_SPS, units
from media.vod.errors import BadSource
from media.vod.fragments import CodedSample, config_of, samples, with_config
from media.vod.inside import Parent, serve
from media.vod.source import load

if TYPE_CHECKING:
    from av import Packet, VideoCodecContext, VideoFrame

DECODERS = {b"avcC": "h264", b"av1C": "libdav1d", b"vpcC": "vp9"}
PROFILES = {66: "baseline", 77: "main", 100: "high"}
QUALITY = {"h264": 20, "av1": 28, "vp9": 24}
MOST_SETS = 31
USUAL_RATE = 30.0
TRACK = {"v": 1, "a": 2}


class Part(msgspec.Struct, array_like=True):
    """Where something is in the file that the child reads."""

    offset: int
    size: int


class EdgeRequest(msgspec.Struct, array_like=True):
    """As media.vod.cut.Edge. name: of the file to write; sequence: its number in the set."""

    name: str
    sequence: int
    parts: list[Part]
    start: int
    end: int
    delay: int


class TrackRequest(msgspec.Struct, array_like=True):
    """init: the source's; init_name: of the one to write. scale: ticks per second."""

    init: Part
    init_name: str
    video: bool
    scale: int
    frame_rate: float
    edges: list[EdgeRequest]


class CutRequest(msgspec.Struct, array_like=True):
    preset: str
    tracks: list[TrackRequest]


class CutResult(msgspec.Struct, array_like=True):
    """sizes: of the files, in bytes, by name. encoded: pictures that were encoded anew; passed: samples that were not,
    in segments that had to be made."""

    sizes: dict[str, int]
    encoded: int
    passed: int


class Cutting:
    def __init__(self, file: BinaryIO, request: CutRequest, parent: Parent) -> None:
        self._file = file
        self._request = request
        self._parent = parent
        self._result = CutResult({}, 0, 0)
        self._done = 0

    def run(self) -> CutResult:
        edges = max(1, sum(len(track.edges) for track in self._request.tracks))
        for track in self._request.tracks:
            init = self._read(track.init)
            ours: bytes | None = None
            maker = Maker(init, track, self._request.preset) if track.video else None
            for edge in track.edges:
                found = [sample for part in edge.parts for sample in samples(self._read(part))]
                self._write(edge.name, self._edge(track, edge, found, maker))
                self._done += 1
                self._parent.step(self._done / edges)
            if maker is not None:
                ours = maker.init()
            self._write(track.init_name, ours or init)
        return self._result

    def _edge(self, track: TrackRequest, edge: EdgeRequest, found: Sequence[CodedSample], maker: Maker | None) -> bytes:
        if maker is None:
            kept = [sample for sample in found if edge.start <= sample.pts < edge.end]
            self._result.passed += len(kept)
            return _segment(edge, 2, kept)
        kept, encoded = maker.make(edge, found)
        self._result.passed += len(kept) - encoded
        self._result.encoded += encoded
        return _segment(edge, 1, kept)

    def _read(self, part: Part) -> bytes:
        self._file.seek(part.offset)
        return self._file.read(part.size)

    def _write(self, name: str, data: bytes) -> None:
        self._result.sizes[name] = len(data)
        self._parent.wrote(name, data)


class Maker:
    """Of one rendition's edges. One encoder for each, all alike."""

    def __init__(self, init: bytes, track: TrackRequest, preset: str) -> None:
        self._init = init
        self._track = track
        self._preset = preset
        self._kind, self._config = config_of(init)
        self._sets: tuple[list[bytes], list[bytes]] | None = None
        self._set_number = _free_number(self._config) if self._kind == b"avcC" else 0

    def init(self) -> bytes | None:
        """None: the source's is right."""
        if self._sets is None:
            return None
        return with_config(self._init, _with_sets(self._config, *self._sets))

    def make(self, edge: EdgeRequest, found: Sequence[CodedSample]) -> tuple[list[CodedSample], int]:
        """The segment's samples in decode order, and how many of them are encoded anew."""
        first, last = passable(found, edge.start, edge.end)
        passed = list(found[first:last])
        if not passed:
            made = self._encode(found, edge.start, edge.end, edge.delay)
            return made, len(made)
        before = after = []
        if any(edge.start <= sample.pts < passed[0].pts for sample in found[:first]):
            before = self._encode(found, edge.start, passed[0].pts, passed[0].pts - passed[0].dts)
        over = max(sample.pts for sample in passed)
        left = [sample.pts for sample in found[last:] if over < sample.pts < edge.end]
        if left:
            after = self._encode(found, min(left), edge.end, edge.delay)
        return [*before, *passed, *after], len(before) + len(after)

    def _encode(self, found: Sequence[CodedSample], start: int, end: int, delay: int) -> list[CodedSample]:
        """What is shown in this time, without reordering."""
        encoder: VideoCodecContext | None = None
        made: list[CodedSample] = []
        for frame in self._decoded(found, start, end):
            if encoder is None:
                encoder = self._open(frame)
                self._note_sets(encoder)
            self._take(encoder.encode(frame), delay, made)
        if encoder is None:
            raise BadSource("damaged", "The picture cannot be decoded where it is to be cut. Choose another moment.")
        self._take(encoder.encode(None), delay, made)
        if not made or not made[0].key:
            raise ValueError("the encoder made no key frame where a segment begins")
        return made

    def _take(self, packets: Sequence[Packet[Any]], delay: int, made: list[CodedSample]) -> None:
        for packet in packets:
            assert packet.pts is not None
            data = bytes(packet)
            if self._kind == b"avcC":
                data = _with_lengths(data, (self._config[4] & 3) + 1)
            elif self._kind == b"av1C":
                data = without_delimiter(data)
            made.append(CodedSample(packet.pts - delay, packet.pts, 0, bool(packet.is_keyframe), data))

    def _decoded(self, found: Sequence[CodedSample], start: int, end: int) -> Iterator[VideoFrame]:
        import av  # noqa: PLC0415  the parent must not load it
        from av.video.frame import PictureType  # noqa: PLC0415

        decoder = av.CodecContext.create(DECODERS[self._kind], "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.extradata = self._config if self._kind != b"vpcC" else None
        decoder.thread_type = "AUTO"
        base = Fraction(1, self._track.scale)
        first = max((n for n, s in enumerate(found) if s.key and s.pts <= start), default=0)
        last = max((n for n, s in enumerate(found) if s.pts < end), default=0)
        for sample in [*found[first : last + 1], None]:
            packet = None
            if sample is not None:
                packet = av.Packet(sample.data)
                packet.pts, packet.dts, packet.time_base = sample.pts, sample.dts, base
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                continue
            for frame in frames:
                if frame.pts is not None and start <= frame.pts < end:
                    frame.pict_type, frame.time_base = PictureType.NONE, base
                    yield frame

    def _open(self, frame: VideoFrame) -> VideoCodecContext:
        import av  # noqa: PLC0415
        from av.codec.context import Flags  # noqa: PLC0415

        name = {b"avcC": "libx264", b"av1C": "libsvtav1", b"vpcC": "libvpx-vp9"}[self._kind]
        encoder = av.CodecContext.create(name, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, frame.format.name
        encoder.time_base = Fraction(1, self._track.scale)
        encoder.framerate = Fraction(max(self._track.frame_rate or USUAL_RATE, 1.0)).limit_denominator(1001)
        encoder.thread_count = 0
        encoder.thread_type = "AUTO"  # else x264 cuts every picture in slices, which cost bits
        told = {"color_primaries": str(int(frame.color_primaries)), "color_trc": str(int(frame.color_trc))}
        told |= {"colorspace": str(int(frame.colorspace)), "color_range": str(int(frame.color_range))}
        told = {key: value for key, value in told.items() if value not in ("0", "2") or key == "color_range"}
        if self._kind == b"avcC":
            encoder.flags |= Flags.global_header
            told |= {"preset": self._preset, "crf": str(QUALITY["h264"]), "bf": "0", "forced-idr": "1", "g": "100000"}
            told["x264-params"] = f"keyint=infinite:scenecut=0:bframes=0:sps-id={self._set_number}"
            if self._config[1] in PROFILES:
                told["profile"] = PROFILES[self._config[1]]
            told["level"] = f"{self._config[3] / 10:.1f}"
        elif self._kind == b"av1C":
            told |= {"preset": "10", "crf": str(QUALITY["av1"]), "g": "100000"}
            told["svtav1-params"] = "scd=0:pred-struct=1"
        else:
            told |= {"deadline": "realtime", "cpu-used": "6", "crf": str(QUALITY["vp9"]), "b": "0", "g": "100000"}
            told |= {"auto-alt-ref": "0", "lag-in-frames": "0"}
        encoder.options = told
        encoder.open()
        return encoder

    def _note_sets(self, encoder: VideoCodecContext) -> None:
        if self._kind != b"avcC":
            return
        found = list(units(bytes(encoder.extradata or b"")))
        sps = [unit for unit in found if unit[0] & 31 == H264_SPS]
        pps = [unit for unit in found if unit[0] & 31 == H264_PPS]
        if self._sets is not None and self._sets != (sps, pps):
            raise ValueError("two edges of a rendition were encoded differently")
        self._sets = sps, pps


def passable(found: Sequence[CodedSample], start: int, end: int) -> tuple[int, int]:
    """Which of these samples, in decode order, can be shown in this time as they are: a run that begins with a key
    frame which nothing leans over, and ends where nothing that is shown leans on what comes behind. Equal when there is
    none."""
    clean = [n for n, sample in enumerate(found) if sample.key and _parts(found, n)]
    firsts = [n for n in clean if start <= found[n].pts < end]
    if not firsts:
        return 0, 0
    first = firsts[0]
    within = sum(sample.pts < end for sample in found)
    if all(sample.pts < end for sample in found[:within]):
        return first, within
    return first, firsts[-1]


def _parts(found: Sequence[CodedSample], number: int) -> bool:
    """Whether all before it are shown before it, and all behind it later."""
    at = found[number].pts
    return all(s.pts < at for s in found[:number]) and all(s.pts > at for s in found[number + 1 :])


def _segment(edge: EdgeRequest, track: int, kept: Sequence[CodedSample]) -> bytes:
    decoded: list[int] = []
    for sample in kept:
        decoded.append(max(sample.dts, decoded[-1] + 1 if decoded else 0))
    end = max(edge.end - edge.delay, decoded[-1] + 1)
    durations = [after - before for before, after in zip(decoded, [*decoded[1:], end], strict=True)]
    offsets = [sample.pts - at for sample, at in zip(kept, decoded, strict=True)]
    parts, _ = fragment(
        edge.sequence + 1,
        track,
        decoded[0],
        durations,
        [sample.data for sample in kept],
        [sample.key for sample in kept] if track == 1 else None,
        offsets if any(offsets) else None,
    )
    return b"".join(parts)


def _with_lengths(stream: bytes, size: int) -> bytes:
    """NAL units between start codes as samples have them, with lengths of so many bytes."""
    return b"".join([len(unit).to_bytes(size, "big") + unit for unit in units(stream) if unit])


def _free_number(config: bytes) -> int:
    """An identifier that no parameter set of the source has. Raises BadSource after many cuts of cuts."""
    sps, pps = parameter_sets(config)
    used = {_number(unit, 4) for unit in sps} | {_number(unit, 1) for unit in pps}
    free = next((number for number in range(1, MOST_SETS) if number not in used), None)
    if free is None or len(sps) >= MOST_SETS:
        raise BadSource("cut_too_often", "This was cut so often that it cannot be cut any more.")
    return free


def _number(unit: bytes, skip: int) -> int:
    """The identifier in a parameter set, behind so many bytes."""
    return BitReader(unescape(unit[:40])[skip:]).ue()


def _with_sets(config: bytes, sps: Sequence[bytes], pps: Sequence[bytes]) -> bytes:
    """The decoder configuration with these sets too."""
    old_sps, old_pps = parameter_sets(config)
    rest = config[7 + sum(2 + len(unit) for unit in (*old_sps, *old_pps)) :]
    parts = [config[:5]]
    for mark, group in ((0xE0, [*old_sps, *sps]), (0, [*old_pps, *pps])):
        parts.append(bytes((mark | len(group),)))
        parts += [len(unit).to_bytes(2, "big") + unit for unit in group]
    return b"".join([*parts, rest])


def work(file: BinaryIO, request: bytes, parent: Parent) -> bytes:
    try:
        result = Cutting(file, msgspec.msgpack.decode(request, type=CutRequest), parent).run()
    except MediaError as error:
        raise BadSource("damaged", "A segment at the edge cannot be read. Choose another moment.") from error
    return msgspec.msgpack.encode(result)


if __name__ == "__main__":
    serve(work, load)
