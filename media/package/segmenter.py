"""Cuts samples into parts and segments.

A Segmenter lives as long as one timeline (from on_tracks to the next one, or the end); the package makes the next. It
owns the open part of each track and knows where segments end; everything finished goes to its Sink at once, within the
call that brought the last frame. Where the picture's configuration changes within a timeline a segment ends, too.

All tracks share the segment numbers (msn): segment n covers the same time in each. Video leads: a segment ends at the
first key frame after `segment_seconds`. What would exceed the target duration is cut without a key frame, and a track
that has nothing for a whole segment gets a gap. Without video, audio leads.

Decode times are made continuous over fragments: the last sample of a part is listed with a predicted duration, and the
next fragment starts exactly where that ended; what the prediction was wrong by goes into the composition offset of its
first sample, so presentation times stay exact and no decoder sees a hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from media.package.cmaf import fragment
from media.package.sample_entries import in_band
from media.package.timing import SHORTEST, fits, frame_duration, mean_distance, part_target
from media.samples import Codec, Kind, Sample, Track

AUDIO_SLACK = 0.4
"""Seconds by which audio may go over the target duration, waiting for the video to say where the segment ends; such a
segment still rounds down to the target (RFC 8216bis, 4.4.3.1)."""

KEY_SLACK = 0.02
"""Seconds by which a key frame may come early and still end a segment: clocks that count milliseconds round."""

HELD_MOST = 1.0
"""Seconds of audio that are held while the frame rate of video is measured."""

HELD_FRAMES = 64
"""Frames of video after which measuring ends, however little time they span."""

HELD_SAMPLES = 1024
HELD_BYTES = 4 << 20

PART_BYTES = 8 << 20
"""A part that is this large ends before its time: what one track may have open."""

SEGMENT_BYTES = 32 << 20
"""A track's share of a segment that is this large ends before its time: some 60 Mbit/s over the longest segment."""

LEAD_STANDS = 0.5
"""Seconds that the track that leads may be behind the other before nobody waits for it."""

LEAST = 0.001
"""Seconds that a segment has at least, also one whose frames all have the same time."""

LONGEST_HOLE = 30.0
"""A silence longer than this is a new timeline, not a row of gaps, s."""


class Sink(Protocol):
    def on_part_target(self, seconds: float) -> None: ...

    def on_part(
        self, letter: str, msn: int, start: int, seconds: float, independent: bool, chunks: list[bytes], size: int
    ) -> None:
        """A part is complete. start: of its segment, ticks; seconds: as it is to be listed."""
        ...

    def on_segment(self, letter: str, msn: int, start: int, duration: int, *, gap: bool, forced: bool) -> None:
        """A track's share of a segment is closed. Ticks; gap: it has no media. forced: cut without a key frame."""
        ...

    def on_changed(self, letter: str, track: Track) -> None:
        """What follows of this track has another configuration; the segment before it is closed."""
        ...

    def on_boundary(self, msn: int, end: float) -> None:
        """Segment msn ends there in all tracks, s; said once, before any of them closes it."""
        ...


@dataclass(frozen=True, slots=True)
class Cuts:
    """Seconds, all of them. part_target: what an earlier timeline fixed, 0.0 before that."""

    segment: float
    target: float
    part: float
    part_target: float = 0.0


class OpenTrack:
    """One track of a timeline: its open part, and where its open segment began."""

    __slots__ = (
        "awaits_key", "becomes", "begun", "bytes", "cursor", "datas", "distance", "dropped", "earliest", "expected",
        "half", "keys", "last", "last_key", "letter", "longest", "mark", "msn", "offsets", "predicted", "scale",
        "sequence", "sets", "shift", "shortest", "start", "started", "times", "track", "video", "weight",
    )  # fmt: skip

    def __init__(self, letter: str, track: Track, shift: int, msn: int, start: int, sequence: int) -> None:
        self.letter = letter
        self.track = track
        self.becomes: Track | None = None  # what it is from its next key frame on
        self.sets = b""  # before each key frame
        self.video = track.kind is Kind.VIDEO
        self.awaits_key = self.video
        self.scale = track.timescale
        self.shift = shift
        self.msn = msn
        self.start = start  # of the open segment, ticks
        self.earliest = start  # what is older belongs before this timeline
        self.started = False  # whether the open segment has media
        self.begun = False  # whether the timeline has media of this track
        self.sequence = sequence
        self.last = -1  # decode time of the last sample, as it came
        self.last_key = -1  # decode time of the last key frame
        self.distance = 0  # between the last two, ticks
        self.expected = -1  # audio: where the next frame belongs when the clock has no jitter
        self.predicted = self.half = 0
        self.longest = self.shortest = 0
        self.cursor = -1  # where the last fragment ended
        self.mark = 0  # where the open part begins, for the playlist
        self.dropped = 0
        self.bytes = 0  # of the open part
        self.weight = 0  # of the open segment, bytes
        self.times: list[int] = []
        self.offsets: list[int] = []
        self.keys: list[bool] = []
        self.datas: list[bytes] = []

    def fix(self, frame: float, target: float) -> None:
        self.predicted = max(1, min(int(frame * self.scale), int(target * self.scale)))
        self.half = min(self.predicted // 2, self.scale // 10)
        self.longest = int(target * self.scale)
        self.shortest = -int(-SHORTEST * target * self.scale)


class _Measure:
    """How long the first samples of a timeline are, kept up with each of them."""

    def __init__(self, tracks: Sequence[tuple[str, Track]]) -> None:
        self._scales = {t.id: t.timescale for _, t in tracks}
        self._video = next((t.id for _, t in tracks if t.kind is Kind.VIDEO), 0)
        self._firsts: dict[int, int] = {}
        self._frames = self._samples = self._bytes = 0

    def add(self, sample: Sample, wanted: float) -> bool:
        """Whether it is enough: `wanted` seconds of video, or as much as is held at most."""
        if not self._video:
            return True
        dts = sample.dts
        first = self._firsts.setdefault(sample.track, dts)
        self._samples += 1
        self._bytes += len(sample.data)
        if self._samples >= HELD_SAMPLES or self._bytes >= HELD_BYTES:
            return True
        scale = self._scales.get(sample.track)
        if scale is None:
            return False
        if sample.track != self._video:
            return dts - first > HELD_MOST * scale
        self._frames += 1
        if self._frames < 2:
            return False
        spanned = (dts - first) / scale
        return spanned + spanned / (self._frames - 1) >= wanted or self._frames >= HELD_FRAMES


class Segmenter:
    def __init__(
        self,
        tracks: Sequence[tuple[str, Track]],
        sink: Sink,
        cuts: Cuts,
        *,
        msn: int,
        base: float,
        sequence: int = 1,
        changed: bool = False,
    ) -> None:
        """tracks: letter and track. msn: of the first segment. base: where the timeline begins, s, a multiple of 0.04
        so that it is a whole number of ticks in every timescale. sequence: number of the first fragment. changed: there
        were other configurations of the picture before; its key frames then carry their parameter sets."""
        self.part_target = cuts.part_target
        self.forced = 0
        self.bytes = 0
        self._tracks = tracks
        self._sink = sink
        self._cuts = cuts
        self._msn = msn
        self._base = base
        self._sequence = sequence
        self._changed = changed
        self._open: dict[int, OpenTrack] = {}
        self._lead: OpenTrack | None = None
        self._held: list[Sample] | None = []
        self._waiting_for_key = any(t.kind is Kind.VIDEO for _, t in tracks)
        self._ends: dict[int, float] = {}  # msn -> where it ends, s
        self._began: float = base  # of the newest segment any track has opened
        self._measure_of = _Measure(tracks)
        self._hole_limit = LONGEST_HOLE
        self.discarded = 0
        self.jumped = False
        self.steps: int | None = None  # of 40 ms, from the publisher's clock to the timeline, once it is known

    # samples in

    def push(self, batch: Sequence[Sample]) -> int:
        """Take samples; returns how many were used. Fewer than the batch: from there on a new timeline is needed."""
        if self._held is not None:
            return self._measure(batch)
        tracks = self._open
        for number, sample in enumerate(batch):
            track = tracks.get(sample.track)
            if track is None:
                self.discarded += 1
            elif not self._take(track, sample):
                return number
        return len(batch)

    def change(self, track: Track) -> None:
        """The picture is this track from its next key frame on."""
        self._changed = True
        self._tracks = [(letter, track if old.id == track.id else old) for letter, old in self._tracks]
        if self._held:
            held, self._held = self._held, None
            self._begin(held)
        opened = self._open.get(track.id)
        if opened is not None:
            opened.becomes, opened.awaits_key = track, True
            return
        for letter, new in self._tracks:
            if new is track:
                self._sink.on_changed(letter, track)

    def flush(self) -> int:
        """Close everything that is open; returns the msn after the last."""
        if self._held:
            held, self._held = self._held, None
            self._begin(held)
        if not self._open:
            return self._msn
        used = [t for t in self._open.values() if t.started or t.times]
        if not used:
            return max(t.msn for t in self._open.values())
        end_msn = max(t.msn for t in used)
        end = 0.0
        for track in used:
            if track.msn == end_msn:
                self._close_part(track, None)
                end = max(end, track.cursor / track.scale)
        if end_msn not in self._ends:
            self._sink.on_boundary(end_msn, max(end, self._began))
        self._ends[end_msn] = max(end, self._began)
        for track in self._open.values():
            while track.msn <= end_msn:
                self._close_segment(track, None, forced=False, last=track.msn == end_msn)
        return end_msn + 1

    @property
    def end(self) -> float:
        """Where the timeline is now, s."""
        return max((t.cursor / t.scale for t in self._open.values()), default=self._base)

    @property
    def progress(self) -> float:
        """How far the track that leads has come, s; when it stands still, nearly as far as the other."""
        if self._lead is None:
            return self._base
        furthest = max(t.last / t.scale for t in self._open.values())
        return max(self._lead.last / self._lead.scale, furthest - LEAD_STANDS)

    @property
    def last_sequence(self) -> int:
        return max((t.sequence for t in self._open.values()), default=self._sequence)

    def ends_segment(self, letter: str) -> bool:
        """Whether the next sample of this track is expected to be the key frame that ends its open segment."""
        lead = self._lead
        if lead is None or lead.letter != letter or not lead.distance or not lead.started or lead.times:
            return False
        expected = lead.last_key + lead.distance
        return (
            lead.cursor >= expected - lead.half
            and expected / lead.scale - self._began >= self._cuts.segment - KEY_SLACK
        )

    def counts(self) -> dict[str, int]:
        dropped = sum(t.dropped for t in self._open.values())
        return {"forced_cuts": self.forced, "discarded": self.discarded, "dropped": dropped, "bytes": self.bytes}

    # the beginning of a timeline: how long is a frame?

    def _measure(self, batch: Sequence[Sample]) -> int:
        held = self._held
        assert held is not None
        for number, sample in enumerate(batch):
            if self._waiting_for_key and sample.track == self._video_id:
                if not sample.key:
                    self.discarded += 1
                    continue
                self._waiting_for_key = False
            held.append(sample)
            if self._measure_of.add(sample, SHORTEST * self._cuts.part):
                self._held = None
                self._begin(held)
                return number + 1 + self.push(batch[number + 1 :])
        return len(batch)

    @property
    def _video_id(self) -> int:
        return next((t.id for _, t in self._tracks if t.kind is Kind.VIDEO), 0)

    def _begin(self, held: list[Sample]) -> None:
        """Place the timeline at its base, fix the part target and go through what was held."""
        by_id = {t.id: t for _, t in self._tracks}
        held = [s for s in held if s.track in by_id]
        if not held:
            return
        first = min(s.dts / by_id[s.track].timescale for s in held)
        # a multiple of 40 ms is a whole number of ticks at 90 kHz and at every sampling rate of AAC and Opus
        steps = self.steps = round(self._base / 0.04) - int(first // 0.04)
        frames: dict[int, float] = {}
        for letter, track in self._tracks:
            samples = [s for s in held if s.track == track.id]
            frames[track.id] = _frame(track, samples)
            shift = steps * track.timescale // 25
            start = round(self._base * track.timescale)
            opened = self._open[track.id] = OpenTrack(letter, track, shift, self._msn, start, self._sequence)
            if self._changed:
                opened.sets = in_band(track)
        video = next((frames[t.id] for _, t in self._tracks if t.kind is Kind.VIDEO), None)
        audio = next((frames[t.id] for _, t in self._tracks if t.kind is Kind.AUDIO), None)
        self._fix_target(video, audio)
        for id, open_track in self._open.items():
            open_track.fix(frames[id], self.part_target)
        self._lead = next((t for t in self._open.values() if t.video), None) or next(iter(self._open.values()))
        for sample in held:
            self._take(self._open[sample.track], sample)

    def _fix_target(self, video: float | None, audio: float | None) -> None:
        target = self.part_target
        if target and (video is None or fits(target, video, 0.0)) and (audio is None or fits(target, audio, 0.0)):
            return
        self.part_target = part_target(self._cuts.part, video, audio, self._cuts.target / 2)
        self._sink.on_part_target(self.part_target)

    # one sample

    def _take(self, track: OpenTrack, sample: Sample) -> bool:
        dts = sample.dts + track.shift
        pts = sample.pts + track.shift
        if dts <= track.last or dts < track.earliest:
            track.dropped += 1
            return True
        if track.last >= 0 and dts - track.last > self._hole_limit * track.scale:
            self.jumped = True
            return False
        if track.awaits_key:
            if not sample.key:
                self.discarded += 1
                return True
            track.awaits_key = False
        if track.video:
            step = dts - track.last
            if track.last >= 0 and step <= track.longest:
                track.predicted += (step - track.predicted) >> 4
        track.last = dts
        if not track.video:
            if sample.duration:
                track.predicted = sample.duration
                track.half = sample.duration // 2
            # frames of audio follow each other without a hole: what is off by less than half a frame is the clock
            expected = track.expected
            if expected >= 0 and -track.half < dts - expected < track.half:
                pts += expected - dts
                dts = expected
            track.expected = dts + track.predicted
        key = sample.key or not track.video
        if sample.key and track.video:
            if track.last_key >= 0:
                track.distance = dts - track.last_key
            track.last_key = dts
        self._advance(track, dts, key)
        if track.becomes is not None:
            track.track, track.becomes = track.becomes, None
            track.sets = in_band(track.track)
            self._sink.on_changed(track.letter, track.track)
        self._append(track, dts, pts, key, sample.data)
        return True

    def _append(self, track: OpenTrack, dts: int, pts: int, key: bool, data: bytes) -> None:
        if track.sets and key:
            data = track.sets + data
        times = track.times
        predicted = track.predicted
        if times:
            elapsed = dts - track.mark
            if (
                elapsed > track.longest
                or (elapsed >= track.shortest and elapsed + predicted > track.longest)
                or track.bytes > PART_BYTES
            ):
                self._close_part(track, dts)
                times = track.times
        if times:
            time = dts if dts > times[-1] else times[-1] + 1
        else:
            cursor = track.cursor
            time = cursor if cursor >= 0 else dts
            track.mark = dts if dts - time > predicted else time
            if not track.started:
                track.started = True
                if not track.begun:
                    track.begun = True
                    track.start = max(track.start, track.mark)
        times.append(time)
        track.offsets.append(pts - time)
        track.keys.append(key)
        track.datas.append(data)
        track.bytes += len(data)
        track.weight += len(data)
        length = dts - track.mark + predicted
        length = min(length, track.longest)
        if length >= track.shortest and length + predicted > track.longest:
            self._close_part(track, track.mark + length)

    # cuts

    def _advance(self, track: OpenTrack, dts: int, key: bool) -> None:
        """Close the track's segment when this sample belongs to a later one, as often as it takes."""
        now = dts / track.scale
        while True:
            end = self._ends.get(track.msn)
            changes = track.becomes is not None and track.started
            if end is not None:
                if now < end - track.half / track.scale and track.weight <= SEGMENT_BYTES and not changes:
                    return
                self._close_segment(track, dts, forced=False)
                continue
            age = now - self._began
            most = self._cuts.target + (track.half / track.scale if track is self._lead else AUDIO_SLACK)
            if changes and age <= most:
                at, forced = max(now, self._began + LEAST), False
            elif key and track is self._lead and self._cuts.segment - KEY_SLACK <= age <= most:
                at, forced = now, False
            elif track.weight > SEGMENT_BYTES:
                at, forced = max(now, self._began + LEAST), True
            elif age + track.predicted / track.scale > most:
                # no key frame in time; after a pause so long that the boundary has passed, it is where it had to be
                at, forced = (now if age <= most else self._began + self._cuts.target), True
            else:
                return
            self._ends[track.msn] = self._began = at
            self._sink.on_boundary(track.msn, at)
            if forced:
                self.forced += 1
            self._close_segment(track, dts, forced=forced)

    def _close_segment(self, track: OpenTrack, dts: int | None, *, forced: bool, last: bool = False) -> None:
        """dts: of the sample that comes next, None when there is none yet. last: of the timeline."""
        msn = track.msn
        boundary = round(self._ends[msn] * track.scale)
        end = boundary
        if dts is not None and abs(dts - boundary) <= min(2 * track.predicted, track.scale // 20):
            end = dts
            if not track.times and track.cursor >= 0 and abs(dts - track.cursor) <= track.predicted:
                end = track.cursor
        if track.times:
            self._close_part(track, end)
        if last and track.started:
            end = track.cursor
        # tracks may begin a frame apart, and frames may be long: what is listed must still round to the target
        end = min(max(end, track.start + 1), track.start + int((self._cuts.target + 0.49) * track.scale))
        self._sink.on_segment(track.letter, msn, track.start, end - track.start, gap=not track.started, forced=forced)
        if not track.started:
            track.cursor = -1  # after a gap there is nothing to be continuous with
        track.start = end
        track.started = False
        track.weight = 0
        track.msn = msn + 1
        self._close_stragglers(msn)

    def _close_stragglers(self, msn: int) -> None:
        """No track may fall more than one segment behind, or its playlist would stop."""
        for other in self._open.values():
            while other.msn < msn:
                self._close_segment(other, None, forced=False)
        for old in [n for n in self._ends if n < msn - 1]:
            del self._ends[old]

    def _close_part(self, track: OpenTrack, end: int | None) -> None:
        times = track.times
        if not times:
            return
        if end is None:
            end = times[-1] + track.predicted
        end = max(end, times[-1] + 1)
        durations = [b - a for a, b in pairwise(times)]
        durations.append(end - times[-1])
        offsets: list[int] | None = track.offsets
        if not any(track.offsets):
            offsets = None
        chunks, size = fragment(
            track.sequence,
            track.track.id,
            times[0],
            durations,
            track.datas,
            track.keys if track.video else None,
            offsets,
        )
        track.sequence += 1
        track.cursor = end
        length = min(max(end - track.mark, 1), track.longest)
        independent = not track.video or True in track.keys
        track.times = []
        track.offsets = []
        track.keys = []
        track.datas = []
        track.bytes = 0
        self.bytes += size
        self._sink.on_part(track.letter, track.msn, track.start, length / track.scale, independent, chunks, size)


def _frame(track: Track, samples: list[Sample]) -> float:
    """Seconds of one frame, from the first ones, else from what the codec usually has."""
    if track.kind is Kind.VIDEO:
        return frame_duration(mean_distance([s.dts for s in samples], track.timescale), track.frame_rate)
    if samples and samples[0].duration:
        return samples[0].duration / track.timescale
    return 0.02 if track.codec is Codec.OPUS else 1024 / track.timescale
