"""Cuts a derived rendition's samples into parts and segments, where the source was cut.

A FollowSegmenter lives as long as one stay of a derived rendition on one timeline. It has no boundaries of its own: the
source's are told to it, and a segment ends at the first sample (of video: the first key frame) at or after its
boundary. What it is given is never ahead of the source (see followers.py), so every boundary that lies before a sample
is known when the sample comes.
"""

from __future__ import annotations

from collections.abc import Sequence

from media.package.sample_entries import in_band
from media.package.segmenter import SEGMENT_BYTES, Cuts, OpenTrack, Segmenter, Sink
from media.samples import Sample, Track


class FollowSegmenter(Segmenter):
    def __init__(
        self,
        letter: str,
        track: Track,
        sink: Sink,
        cuts: Cuts,
        *,
        msn: int,
        base: float,
        steps: int,
        frame: float,
        sequence: int,
        changed: bool,
    ) -> None:
        """msn: of the source's segment that its first sample belongs to; base: where that begins, s. steps: of 40 ms,
        from the publisher's clock to the timeline. frame: s. sequence: number of the first fragment.
        changed: as of a Segmenter."""
        super().__init__([(letter, track)], sink, cuts, msn=msn, base=base, sequence=sequence)
        self._held = None
        shift = steps * track.timescale // 25
        self._track = OpenTrack(letter, track, shift, msn, round(base * track.timescale), sequence)
        self._track.fix(frame, cuts.part_target)
        if changed:
            self._track.sets = in_band(track)
        self._open = {track.id: self._track}
        self.left = False  # nothing comes any more: it ends with the open segment

    @property
    def msn(self) -> int:
        """Of the open segment."""
        return self._track.msn

    def push(self, batch: Sequence[Sample]) -> int:
        track = self._track
        for sample in batch:
            if sample.track != track.track.id:
                self.discarded += 1
            elif track.weight > SEGMENT_BYTES or sample.dts + track.shift < track.start - track.half:
                # its segment is full, or was closed without it; what needs this frame cannot be shown either
                track.dropped += 1
                track.awaits_key = track.video
            else:
                self._take(track, sample)
        return len(batch)

    def boundary(self, msn: int, end: float) -> None:
        """The source's segment msn ends there, s. What is more than one segment behind is closed as it is."""
        self._ends[msn] = end
        while self._track.msn < msn and self._track.msn in self._ends:
            self._close_segment(self._track, None, forced=False)

    def finish(self, following: int, end: float) -> None:
        """The timeline is over: close all segments before `following`; the last one ends at `end`, s."""
        track = self._track
        while track.msn < following:
            self._ends.setdefault(track.msn, end)
            self._close_segment(track, None, forced=False, last=track.msn == following - 1)

    def _advance(self, track: OpenTrack, dts: int, key: bool) -> None:
        """Close the segment when this sample belongs to a later one, as often as it takes."""
        now = dts / track.scale
        while (end := self._ends.get(track.msn)) is not None:
            if now < end - track.half / track.scale:
                return
            forced = track.video and track.started and not key
            if forced and (dts - track.start + track.predicted) < self._cuts.target * track.scale:
                return  # its key frame is still to come
            if track.video and track.started:
                self._ends[track.msn] = now
            self.forced += forced
            self._close_segment(track, dts, forced=forced)
