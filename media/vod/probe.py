"""`python -m media.vod.probe`: reads a source from end to end, decodes its first frames, and tells the facts."""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
from array import array
from fractions import Fraction
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from media.vod.errors import BadSource
from media.vod.facts import AudioFacts, SourceFacts, VideoFacts
from media.vod.inside import Parent, serve
from media.vod.options import Limits
from media.vod.source import load, open_source, packets

if TYPE_CHECKING:
    from av import AudioStream, Packet, VideoFrame, VideoStream
    from av.container import InputContainer

ENOUGH_FRAMES = 8
MOST_TRIED = 900
"""Video packets that are decoded in search of the first frames."""
ENOUGH_SOUND, MOST_SOUND_TRIED = 2, 400
PQ, HLG = 16, 18
"""Transfer characteristics of ISO/IEC 23091-2."""
UNEVEN = 0.25
KEYS_APART = Fraction(1, 2)
"""Seconds."""
TRUNCATED_SECONDS = 1.0


class Seen:
    """Packets of one track: times in ticks of it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.base: Fraction = stream.time_base or Fraction(1, 1000)
        self.times = array("q")
        self.bytes = 0
        self.count = 0
        self.timeless = 0
        self.last_duration = 0
        self.tried = 0

    def add(self, packet: Packet[Any]) -> None:
        self.bytes += packet.size
        self.count += 1
        self.last_duration = packet.duration or self.last_duration
        if packet.pts is None:
            self.timeless += 1
        elif not packet.is_discard:
            self.times.append(packet.pts)

    @property
    def reach(self) -> float:
        """Seconds between the first and the newest packet."""
        return float((self.times[-1] - self.times[0]) * self.base) if self.times else 0.0


class SeenVideo(Seen):
    def __init__(self, stream: VideoStream) -> None:
        super().__init__(stream)
        self.keys: list[int] = []
        self.closed = True
        self.frames: list[VideoFrame] = []

    def add(self, packet: Packet[Any]) -> None:
        super().add(packet)
        if packet.pts is None:
            return
        if packet.is_keyframe:
            self.closed = self.closed and _is_idr(self.stream, packet)
            self.keys.append(packet.pts)
        elif self.keys and packet.pts < self.keys[-1]:
            self.closed = False


class SeenAudio(Seen):
    def __init__(self, stream: AudioStream) -> None:
        super().__init__(stream)
        self.first: int | None = None
        self.decoded = 0


def _is_idr(stream: VideoStream, packet: Packet[Any]) -> bool:
    """Of H.264 with lengths of four bytes; else it is not asked, for only that is passed on."""
    if stream.codec_context.name != "h264":
        return False
    config = stream.codec_context.extradata or b""
    if config[:1] != b"\x01" or len(config) < 5 or config[4] & 3 != 3:
        return False
    data, at = bytes(packet), 0
    while at + 5 <= len(data):
        if data[at + 4] & 31 == 5:
            return True
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    return False


def look(file: BinaryIO, parent: Parent) -> SourceFacts:
    """Raises BadSource."""
    limits = parent.limits
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise BadSource("no_media", "The file is empty.")
    name, container = open_source(file, limits)
    video, audios = _choose(container, limits)
    lost = [0]
    seen: dict[int, Seen] = {track.stream.index: track for track in (video, *audios) if track is not None}
    if not seen:
        raise BadSource("no_media", "There is neither picture nor sound in this file.")
    for number, packet in enumerate(packets(container, [track.stream for track in seen.values()], lost)):
        track = seen[packet.stream.index]
        track.add(packet)
        if track.reach > limits.longest:
            raise BadSource("too_long", f"The video is longer than {limits.longest / 3600:g} hours, the most taken.")
        if isinstance(track, SeenVideo):
            _try_video(track, packet, limits)
        elif isinstance(track, SeenAudio):
            _try_audio(track, packet)
        if number % 5000 == 4999:
            parent.step(min(file.tell() / size, 1.0))
    video_facts = _video_facts(video, limits) if video is not None and video.count else None
    audio_facts = tuple(_audio_facts(track) for track in audios if track.decoded)
    if video_facts is None and not audio_facts:
        raise BadSource("damaged", "Nothing in this file can be decoded: it is damaged or incomplete.")
    taken = next((track for track in audio_facts if track.default), audio_facts[0] if audio_facts else None)
    tracks = [track for track in (video_facts, taken) if track is not None]
    begin = min(_seconds(track.start, track) for track in tracks)
    duration = max(_seconds(track.end, track) for track in tracks) - begin
    if duration > limits.longest:
        raise BadSource("too_long", f"The video is longer than {limits.longest / 3600:g} hours, the most taken.")
    count = sum(track.count for track in seen.values())
    claimed = (container.duration or 0) / 1_000_000
    return SourceFacts(
        format=name,
        size=size,
        duration=duration,
        video=video_facts,
        audio=taken,
        audio_tracks=audio_facts,
        damage=min(lost[0] / max(count, 1), 1.0),
        truncated=claimed - duration > TRUNCATED_SECONDS and name != "mpegts",
    )


def _choose(container: InputContainer, limits: Limits) -> tuple[SeenVideo | None, list[SeenAudio]]:
    from av.stream import Disposition  # noqa: PLC0415

    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    main = next((s for s in videos if s.disposition & Disposition.default), videos[0] if videos else None)
    known = [s for s in container.streams.audio if s.codec_context is not None]
    if main is not None and main.codec_context is None:
        raise BadSource("unsupported_codec", "The picture of this video is coded in a way that is not known here.")
    if main is None and not known and container.streams.audio:
        raise BadSource("unsupported_codec", "The sound of this file is coded in a way that is not known here.")
    if main is not None:
        check_size(main.codec_context.width, main.codec_context.height, limits)
        main.thread_count = 1
    return SeenVideo(main) if main is not None else None, [SeenAudio(s) for s in known]


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises BadSource(too_large_picture)."""
    if max(width, height) > limits.longest_side or width * height > limits.most_pixels:
        raise BadSource(
            "too_large_picture",
            f"The picture has {width} x {height} pixels; at most {limits.longest_side} each way, and"
            f" {limits.most_pixels // 1_000_000} million in all, are taken.",
        )


def _try_video(track: SeenVideo, packet: Packet[Any], limits: Limits) -> None:
    import av  # noqa: PLC0415

    if len(track.frames) >= ENOUGH_FRAMES or track.tried >= MOST_TRIED:
        return
    track.tried += 1
    try:
        for frame in packet.decode():
            check_size(frame.width, frame.height, limits)
            track.frames.append(frame)
    except av.FFmpegError:
        pass  # damaged: the next one may be whole


def _try_audio(track: SeenAudio, packet: Packet[Any]) -> None:
    import av  # noqa: PLC0415

    if track.decoded >= ENOUGH_SOUND or track.tried >= MOST_SOUND_TRIED:
        return
    track.tried += 1
    try:
        for frame in packet.decode():
            track.decoded += 1
            if track.first is None:
                track.first = frame.pts
    except av.FFmpegError:
        pass


def _video_facts(track: SeenVideo, limits: Limits) -> VideoFacts:
    import av  # noqa: PLC0415

    stream, context = track.stream, track.stream.codec_context
    if len(track.frames) < ENOUGH_FRAMES:
        with contextlib.suppress(av.FFmpegError):
            track.frames += context.decode(None)
    if not track.frames:
        raise BadSource("damaged", "The picture of this video cannot be decoded: the file is damaged or incomplete.")
    frame = track.frames[0]
    check_size(frame.width, frame.height, limits)
    times = sorted(track.times)
    if track.keys:  # what comes before the first key frame cannot be decoded
        times = [time for time in times if time >= track.keys[0]]
    distances = [after - before for before, after in itertools.pairwise(times)]
    exact = bool(times and track.keys) and not track.timeless and all(distance > 0 for distance in distances)
    base = track.base
    claimed = stream.average_rate or stream.guessed_rate or Fraction(25)
    if exact:
        start, last = times[0], times[-1]
        rate = float((len(times) - 1) / ((last - start) * base)) if len(times) > 1 else float(claimed)
        tail = track.last_duration if 0 < track.last_duration * base < 10 else round(1 / (rate * base))
        end = last + max(tail, 1)
        count = len(times)
    else:
        base = 1 / claimed
        start, end, count, rate = 0, track.count, track.count, float(claimed)
    turned = -frame.rotation % 360 if frame.rotation % 90 == 0 else 0
    shape = context.sample_aspect_ratio or stream.sample_aspect_ratio or Fraction(1)
    width, height = _square(frame.width, frame.height, shape)
    if turned in (90, 270):
        width, height = height, width
    length = float((end - start) * base)
    return VideoFacts(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=str(stream.profile or ""),
        width=width,
        height=height,
        coded_width=frame.width,
        coded_height=frame.height,
        rotation=turned,
        pixel_format=frame.format.name,
        bits=frame.format.components[0].bits,
        frame_rate=rate,
        variable=exact and _uneven(distances),
        interlaced=any(f.interlaced_frame for f in track.frames),
        hdr={PQ: "pq", HLG: "hlg"}.get(int(frame.color_trc), ""),
        bit_rate=round(8 * track.bytes / length) if length > 0 else 0,
        start=start,
        end=end,
        timescale=(base.numerator, base.denominator),
        frames=count,
        keys=_some(sorted(track.keys), round(KEYS_APART / base)) if exact else (),
        exact=exact,
        closed=exact and track.closed and track.keys[0] == start,
        decoded=len(track.frames),
        config=bytes(context.extradata or b""),
    )


def _square(width: int, height: int, shape: Fraction) -> tuple[int, int]:
    """The size with square pixels; never fewer of them across or down. Shapes that nobody means are left out."""
    if not Fraction(1, 4) <= shape <= 4:
        return width, height
    return (round(width * shape), height) if shape >= 1 else (width, round(height / shape))


def _some(keys: list[int], apart: int) -> tuple[int, ...]:
    """Where every picture is a key frame, a few of them will do."""
    chosen = keys[:1]
    for key in keys:
        if key - chosen[-1] >= apart:
            chosen.append(key)
    return tuple(chosen)


def _uneven(distances: list[int]) -> bool:
    if len(distances) < 2:
        return False
    middle = statistics.median(distances)
    odd = sum(abs(distance - middle) > UNEVEN * middle + 1 for distance in distances)
    return odd > max(1, len(distances) // 100)


def _audio_facts(track: SeenAudio) -> AudioFacts:
    from av.stream import Disposition  # noqa: PLC0415

    stream, context, base = track.stream, track.stream.codec_context, track.base
    times = track.times
    frame = context.frame_size or 1024
    length = Fraction(frame, context.sample_rate or 48_000) / base  # ticks of a frame
    first = times[0] if times else 0
    start = track.first if track.first is not None else first
    end = times[-1] + (track.last_duration or round(length)) if times else round(track.count * length)
    slack = 1.5 * float(length)
    even = not track.timeless and all(abs(time - first - number * length) < slack for number, time in enumerate(times))
    seconds = float((end - start) * base)
    return AudioFacts(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=str(stream.profile or ""),
        sample_rate=context.sample_rate or 0,
        channels=len(context.layout.channels),
        bit_rate=round(8 * track.bytes / seconds) if seconds > 0 else 0,
        language=(stream.language or "")[:16],
        default=bool(stream.disposition & Disposition.default),
        start=start,
        end=max(end, start + 1),
        timescale=(base.numerator, base.denominator),
        frames=track.count,
        even=even,
        config=bytes(context.extradata or b""),
    )


def _seconds(time: int, track: VideoFacts | AudioFacts) -> float:
    return time * track.timescale[0] / track.timescale[1]


def work(file: BinaryIO, _request: bytes, parent: Parent) -> bytes:
    return msgspec.msgpack.encode(look(file, parent))


if __name__ == "__main__":
    serve(work, load)
