"""What is made of a source: which rungs, cut where, by how many jobs. Pure: facts and options in, a Plan out.

All renditions are cut at the same moments of the output's timeline (`boundaries`), whose zero is the first moment of
the source that has picture or sound. A chunk is a run of whole segments; whoever encodes it begins to decode at the
source's last key frame before it and drops what is shown earlier, so chunks need nothing of each other, and no frame
is lost or doubled between them. Where the source's own track is passed on, the boundaries are key frames of it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

import msgspec

from media.samples import VIDEO_TIMESCALE
from media.vod.errors import BadSource
from media.vod.facts import AudioFacts, SourceFacts, VideoFacts
from media.vod.options import Options, Rung

LEAD_FRAMES, LEAST_RATE = 2, 10.0
"""By so many frames encoders send pictures earlier than they are shown (B-frames); of slow sources no more than 0.2
s."""
SHORTEST_TAIL = 0.25
"""Of a segment: a last one that is shorter belongs to the one before it."""
NEAR = 1.03
"""A source that lacks up to 3 % of a standard height counts as that rung, at its own size."""
FAST, FASTER = 40.0, 1.5
"""Above so many frames per second a rung may have so many times its bit rate."""
SAVING = {"h264": 1.0, "hevc": 0.65, "av1": 0.55}
"""Bit rate for the same picture beside H.264's."""
LEAST_BIT_RATE = 64_000
PASSED_PROFILES = ("Constrained Baseline", "Baseline", "Main", "High")
PASSED_EXCESS = 1.5
"""A source of up to so many times its rung's bit rate is passed on."""
PASSED_AUDIO = 256_000
PASSED_RATES = (44_100, 48_000)
EVEN = 0.15
"""Seconds by which a passed audio track may begin later or end earlier than the pictures."""


class RungPlan(msgspec.Struct, frozen=True):
    """bit_rate: peak in bit/s. passed: the source's own packets."""

    name: str
    width: int
    height: int
    bit_rate: int
    passed: bool = False


class Chunk(msgspec.Struct, frozen=True):
    """segments first … first + count - 1; start and end in ticks of 1/90000 s of the output."""

    number: int
    first: int
    count: int
    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / VIDEO_TIMESCALE


class AudioPlan(msgspec.Struct, frozen=True):
    """passed: the source's own AAC; else AAC-LC of this bit rate, mono or stereo, at 48 kHz."""

    passed: bool
    channels: int
    sample_rate: int
    bit_rate: int


class Plan(msgspec.Struct, frozen=True):
    """Storable as JSON (plan_to_json, plan_from_json); everything that an encoder of a chunk needs to know.

    zero: the source's time that is zero of the output, in ticks of 1/90000 s. boundaries: starts of all segments and
    the end of the last, in the same ticks from zero. lead: ticks by which everything is shown later in the files, see
    media.vod.cutter. rungs: from low to high; empty for a source without pictures.

    What the files are called, where others are there already: `mark` is in every name, so that a set can take the place
    of another while that is watched; `first` is the number of the first segment, `init` that of the init segments (0:
    they have none), and `origin` the ticks that the files' times are later than the output's.
    """

    facts: SourceFacts
    options: Options
    zero: int
    lead: int
    boundaries: tuple[int, ...]
    rungs: tuple[RungPlan, ...]
    chunks: tuple[Chunk, ...]
    audio: AudioPlan | None
    mark: str = ""
    first: int = 0
    init: int = 0
    origin: int = 0

    @property
    def sound(self) -> str:
        """The letter of the sound."""
        return f"a-{self.mark}" if self.mark else "a"

    def letter(self, name: str) -> str:
        """Of a rung."""
        return f"v-{name}{self.mark}"

    def init_name(self, letter: str) -> str:
        return f"{letter}-init-{self.init}.mp4" if self.init else f"{letter}-init.mp4"

    def segment_name(self, letter: str, number: int) -> str:
        """number: within the plan."""
        return f"{letter}-{self.first + number}.m4s"

    @property
    def segments(self) -> int:
        return len(self.boundaries) - 1

    @property
    def seconds(self) -> float:
        return self.boundaries[-1] / VIDEO_TIMESCALE

    @property
    def lowest(self) -> str:
        """The rung to encode first; "" for sound alone."""
        return self.rungs[0].name if self.rungs else ""

    def rung(self, name: str) -> RungPlan:
        """Raises LookupError."""
        for rung in self.rungs:
            if rung.name == name:
                return rung
        raise LookupError(name)


class ChunkRequest(msgspec.Struct, array_like=True):
    """family: of the encoder in hardware (see media.transcode.encoders), "" for software."""

    plan: Plan
    number: int
    rungs: tuple[str, ...]
    family: str = ""


def plan_to_json(plan: Plan) -> bytes:
    return msgspec.json.encode(plan)


def plan_from_json(data: bytes | str) -> Plan:
    """Raises msgspec.MsgspecError."""
    return msgspec.json.decode(data, type=Plan)


def make_plan(facts: SourceFacts, options: Options | None = None) -> Plan:
    """Raises BadSource(no_media) for a source without any media."""
    options = options or Options()
    video, audio = facts.video, facts.audio
    if video is None and audio is None:
        raise BadSource("no_media", "There is neither picture nor sound in this file.")
    spans = [_span(track) for track in (video, audio) if track is not None]
    zero = min(start for start, _ in spans)
    end = max(end for _, end in spans) - zero
    boundaries: Sequence[int] = ()
    rungs: tuple[RungPlan, ...] = ()
    if video is not None:
        rungs = _rungs(video, options)
        if _passes(video, rungs[-1], options):
            boundaries = _at_keys(video, zero, end, options)
        if boundaries:
            rungs = (*rungs[:-1], _passed(video, rungs[-1]))
    boundaries = boundaries or _even_grid(end, options)
    return Plan(
        facts=facts,
        options=options,
        zero=zero,
        lead=round(LEAD_FRAMES * VIDEO_TIMESCALE / max(video.frame_rate, LEAST_RATE)) if video is not None else 0,
        boundaries=tuple(boundaries),
        rungs=rungs,
        chunks=_chunks(boundaries, options, whole=not video.exact) if video is not None else (),
        audio=_audio(audio, zero, end, options) if audio is not None else None,
    )


def ticks(time: int, timescale: tuple[int, int]) -> int:
    """A stream's time in ticks of 1/90000 s."""
    return round(Fraction(time * timescale[0] * VIDEO_TIMESCALE, timescale[1]))


def _span(track: VideoFacts | AudioFacts) -> tuple[int, int]:
    return ticks(track.start, track.timescale), ticks(track.end, track.timescale)


# rungs


def rungs_of(width: int, height: int, frame_rate: float, options: Options) -> tuple[RungPlan, ...]:
    """From low to high, for a picture of this size; the highest is what the picture itself counts as."""
    return _rungs(_Size(width, height, frame_rate), options)


class _Pictured(Protocol):
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frame_rate(self) -> float: ...
    @property
    def bit_rate(self) -> int: ...


class _Size(NamedTuple):
    width: int
    height: int
    frame_rate: float
    bit_rate: int = 1 << 40


def _rungs(video: _Pictured, options: Options) -> tuple[RungPlan, ...]:
    ladder = [rung for rung in options.ladder if _lines(video) * NEAR >= rung.height] or [options.ladder[0]]
    names = [rung.name for rung in ladder]
    if options.highest in names:
        ladder = ladder[: names.index(options.highest) + 1]
    elif options.highest:
        wanted = next((rung.height for rung in options.ladder if rung.name == options.highest), ladder[0].height)
        ladder = [rung for rung in ladder if rung.height <= wanted] or ladder[:1]
    return tuple(_rung(video, rung, options) for rung in ladder)


def _lines(video: _Pictured) -> float:
    """The height of the 16:9 box that the picture fills, lying or upright: 720 for 1280x720, 720x1280 and 1280x534."""
    short, long = sorted((video.width, video.height))
    return max(short, long * 9 / 16)


def _rung(video: _Pictured, rung: Rung, options: Options) -> RungPlan:
    factor = min(1.0, rung.height / _lines(video))
    width, height = (max(2, round(side * factor / 2) * 2) for side in (video.width, video.height))
    rate = rung.bit_rate * (FASTER if video.frame_rate > FAST else 1.0) * SAVING[options.codec]
    return RungPlan(rung.name, width, height, round(min(rate, max(video.bit_rate, LEAST_BIT_RATE))))


def _passed(video: VideoFacts, rung: RungPlan) -> RungPlan:
    return RungPlan(rung.name, video.width, video.height, max(video.bit_rate, 1), passed=True)


def _passes(video: VideoFacts, rung: RungPlan, options: Options) -> bool:
    """Whether the source's track can be the top rung, but for where its key frames stand."""
    step = next(step for step in options.ladder if step.name == rung.name)
    rate = step.bit_rate * (FASTER if video.frame_rate > FAST else 1.0)
    return (
        options.pass_through
        and options.codec == video.codec == "h264"
        and video.profile in PASSED_PROFILES
        and video.pixel_format in ("yuv420p", "yuvj420p")
        and (video.coded_width, video.coded_height) == (video.width, video.height)
        and video.width % 2 == video.height % 2 == 0
        and not (video.rotation or video.interlaced or video.hdr)
        and video.exact
        and video.closed
        and video.config[:1] == b"\x01"
        and _lines(video) <= step.height * NEAR
        and video.bit_rate <= rate * PASSED_EXCESS
    )


# the grid


def _even_grid(end: int, options: Options) -> list[int]:
    step = round(options.segment_seconds * VIDEO_TIMESCALE)
    boundaries = [*range(0, max(end, 1), step), max(end, 1)]
    if len(boundaries) > 2 and boundaries[-1] - boundaries[-2] < step * SHORTEST_TAIL:
        del boundaries[-2]
    return boundaries


def _at_keys(video: VideoFacts, zero: int, end: int, options: Options) -> list[int]:
    """Key frames about a segment apart; none when the source has too few of them."""
    step = round(options.segment_seconds * VIDEO_TIMESCALE)
    keys = [ticks(key, video.timescale) - zero for key in video.keys]
    if not keys or keys[0] > step // 2:
        return []
    boundaries = [0]
    while end - boundaries[-1] > step * 1.5:
        at = boundaries[-1]
        place = bisect_left(keys, at + step)
        choices = [key for key in keys[max(place - 1, 0) : place + 1] if at + step // 2 <= key <= at + step * 3 // 2]
        if not choices:
            return []
        boundaries.append(min(choices, key=lambda key: abs(key - at - step)))
    boundaries.append(end)
    return boundaries


def _chunks(boundaries: Sequence[int], options: Options, *, whole: bool) -> tuple[Chunk, ...]:
    count = len(boundaries) - 1
    size = options.chunk_seconds * VIDEO_TIMESCALE
    firsts = [0]
    for number in range(1, count):
        if boundaries[number] - boundaries[firsts[-1]] >= size:
            firsts.append(number)
    if len(firsts) > 1 and boundaries[-1] - boundaries[firsts[-1]] < size / 4:
        firsts.pop()
    if whole:
        firsts = [0]
    ends = [*firsts[1:], count]
    return tuple(
        Chunk(number, first, last - first, boundaries[first], boundaries[last])
        for number, (first, last) in enumerate(zip(firsts, ends, strict=True))
    )


# sound


def _audio(audio: AudioFacts, zero: int, end: int, options: Options) -> AudioPlan:
    start, stop = _span(audio)
    slack = EVEN * VIDEO_TIMESCALE
    if (
        options.pass_through
        and audio.codec == "aac"
        and audio.profile == "LC"
        and audio.config
        and audio.channels in (1, 2)
        and audio.sample_rate in PASSED_RATES
        and audio.bit_rate <= PASSED_AUDIO
        and audio.even
        and start - zero <= slack
        and end - (stop - zero) <= slack
    ):
        return AudioPlan(True, audio.channels, audio.sample_rate, audio.bit_rate)
    channels = 1 if audio.channels == 1 else 2
    return AudioPlan(False, channels, 48_000, options.audio_bit_rate * channels // 2)
