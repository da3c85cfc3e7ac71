"""The recording: playlists of its own over the live segments, made from the journal alone.

So the same code closes a broadcast that ended well and one that a crash left open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from media.package import dash, hls
from media.package.history import read_history
from media.package.journal import Init, SegmentLine

MULTIVARIANT = "recording.m3u8"
MANIFEST = "recording.mpd"
NAME = re.compile(r"recording(-[va](-[a-z0-9]{1,12})?)?\.m3u8|recording\.mpd")
WHOLE = 0.95
"""A derived rendition is in the recording's playlists when it has this share of the segments: what was made for a while
on demand is no choice for somebody who watches from the start."""


@dataclass(frozen=True, slots=True)
class Recording:
    """duration_s: of the media; bytes: of all segments; segments: how many; tracks: the RFC 6381 codecs."""

    duration_s: float
    bytes: int
    segments: int
    tracks: tuple[str, ...]


def recording_from_journal(journal: bytes) -> tuple[Recording, dict[str, bytes]]:
    """What was recorded, and the playlists to put beside the segments (name -> body); none when there is no media."""
    history = read_history(journal)
    segments, inits = history.segments, history.inits
    target = history.head.target if history.head else 0
    while segments and all(p.gap for p in segments[-1].pieces.values()):
        segments.pop()
    while segments and all(p.gap for p in segments[0].pieces.values()):
        segments.pop(0)
    if not segments:
        return Recording(0.0, 0, 0, ()), {}

    length = sum(s.seconds for s in segments)
    media = sum(not all(p.gap for p in s.pieces.values()) for s in segments)
    whole = {x: pieces for x, pieces in sorted(history.follows.items()) if len(pieces) >= WHOLE * media}
    for segment in segments:
        segment.pieces |= {x: pieces[segment.msn] for x, pieces in whole.items() if segment.msn in pieces}
    letters = [x for x in ("v", "a", *whole) if any(x in s.pieces and not s.pieces[x].gap for s in segments)]
    used = {letter: _inits_of(segments, inits, letter) for letter in letters}
    totals = {x: sum(s.pieces[x].size for s in segments if x in s.pieces and not s.pieces[x].gap) for x in letters}
    sent = [x for x in letters if len(x) == 1]
    peak = max(_peak(segments, sent, target), 1)
    average = hls.bandwidth(sum(totals[x] for x in sent), length)
    timeline = dash.Timeline()
    for s in segments:
        timeline.add(s.msn, s.session, s.base, {x: p for x, p in s.pieces.items() if len(x) == 1}, inits)
        for letter in whole:
            if letter in s.pieces:
                timeline.follow(s.msn, letter, s.pieces[letter], inits[s.pieces[letter].init])
    listed = [
        hls.Listed(
            of[0], f"recording-{x}.m3u8", max(_peak(segments, [x], target), 1), hls.bandwidth(totals[x], length),
            tuple(init.codec for init in of),
        )
        for x, of in used.items()
    ]  # fmt: skip
    bandwidths = {x: hls.bandwidth(totals[x], length) for x in letters}
    files = {
        MULTIVARIANT: hls.multivariant(listed, max(peak, average), average).encode(),
        MANIFEST: dash.static_manifest(timeline, target=target, bandwidths=bandwidths)[0],
    }
    for letter in letters:
        files[f"recording-{letter}.m3u8"] = _playlist(segments, letter, target).encode()
    recording = Recording(
        round(length, 3),
        sum(totals.values()),
        media,
        tuple(init.codec for of in used.values() for init in of),
    )
    return recording, files


def _playlist(segments: Sequence[SegmentLine], letter: str, target: int) -> str:
    lines = [
        "#EXTM3U\n#EXT-X-VERSION:7\n",
        f"#EXT-X-TARGETDURATION:{target}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:{segments[0].msn}\n",
    ]
    init = ""
    for number, segment in enumerate(segments):
        piece = segment.pieces.get(letter)
        discontinuity = segment.discontinuity and number > 0
        if discontinuity:
            lines.append("#EXT-X-DISCONTINUITY\n")
        if piece is not None and piece.init and (piece.init != init or discontinuity):
            init = piece.init
            lines.append(f'#EXT-X-MAP:URI="{init}"\n')
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{hls.moment(segment.at)}\n")
        if piece is None or piece.gap:
            lines.append("#EXT-X-GAP\n")
        length = piece.duration / piece.scale if piece is not None else segment.seconds
        lines.append(f"#EXTINF:{length:.5f},\n{letter}-{segment.msn}.m4s\n")
    lines.append("#EXT-X-ENDLIST\n")
    return "".join(lines)


def _inits_of(segments: Sequence[SegmentLine], inits: dict[str, Init], letter: str) -> list[Init]:
    """What the playlist says of a track, one of each codec, and first that which says the most of it: the largest
    picture, so that no player stops at less; of sound, what most is in. Who publishes may go on in another way."""
    seconds: dict[str, float] = {}
    for segment in segments:
        piece = segment.pieces.get(letter)
        if piece is not None and piece.init and not piece.gap:
            seconds[piece.init] = seconds.get(piece.init, 0.0) + piece.duration / piece.scale
    found: dict[str, Init] = {}
    for name in sorted(seconds, key=lambda name: (-inits[name].width * inits[name].height, -seconds[name])):
        found.setdefault(inits[name].codec.partition(".")[0], inits[name])
    return list(found.values())


def _peak(segments: Sequence[SegmentLine], letters: Sequence[str], target: int) -> int:
    """Largest bit rate of neighbouring segments of at least half a target duration together (4.4.6.2)."""
    peak = size = 0
    seconds = 0.0
    for segment in segments:
        size += sum(segment.pieces[x].size for x in letters if x in segment.pieces and not segment.pieces[x].gap)
        seconds += segment.seconds
        if seconds >= target / 2 - 0.1:
            peak = max(peak, hls.bandwidth(size, seconds))
            size, seconds = 0, 0.0
    return peak
