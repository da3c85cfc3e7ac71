"""Playlists and manifest of what is there so far. Pure: results in, files out; to write them again changes no segment.

While no rung is whole, the longest beginning of one is a playlist that grows (EVENT), so that it can be watched at
once; then there are the whole ones only, and each that is finished later joins the multivariant playlist and the
manifest. A DASH manifest is written from the first whole rung on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from media.package import dash, hls
from media.package.journal import Init
from media.samples import VIDEO_TIMESCALE
from media.vod.errors import BadSource
from media.vod.plan import Plan
from media.vod.results import AudioResult, ChunkResult, Made, Segment

MULTIVARIANT, MANIFEST = "index.m3u8", "index.mpd"
MOST_LOST = 0.5
"""A video of which more frames than this share cannot be decoded is refused as damaged."""


def package(plan: Plan, results: Iterable[ChunkResult], audio: AudioResult | None = None) -> dict[str, bytes]:
    """Name -> body of `index.m3u8`, `index.mpd`, `v-{rung}.m3u8`, `a.m3u8`; nothing while there is nothing to play.

    results: of all chunks so far in any order, one chunk as several results of other rungs too. A plan with audio needs
    the audio's result before anything can be played.
    """
    sound = audio.rendition if audio is not None else None
    if plan.audio is not None and sound is None:
        return {}
    if not plan.rungs:
        return _files(plan, [], sound, whole=True) if sound is not None and sound.segments else {}
    videos = _joined(plan, results)
    whole = [made for made in videos if len(made.segments) == plan.segments]
    if whole:
        return _files(plan, whole, sound, whole=True)
    if not videos:
        return {}
    begun = max(videos, key=lambda made: len(made.segments))
    end = begun.segments[-1].number
    if sound is not None:
        sound = msgspec.structs.replace(sound, segments=tuple(s for s in sound.segments if s.number <= end))
    return _files(plan, [begun], sound, whole=False)


def check_loss(results: Iterable[ChunkResult]) -> None:
    """Raises BadSource(damaged) when most of what should be there could not be decoded. For all chunks of one rung."""
    frames = lost = 0
    for result in results:
        frames, lost = frames + result.frames, lost + result.lost
    if lost > MOST_LOST * (frames + lost):
        raise BadSource("damaged", "Most of this video cannot be decoded: the file is damaged.")


def _joined(plan: Plan, results: Iterable[ChunkResult]) -> list[Made]:
    """Each rung's segments from the first on without a hole, from the lowest rung to the highest."""
    found: dict[str, dict[int, Segment]] = {}
    about: dict[str, Made] = {}
    for result in results:
        for made in result.renditions:
            about[made.letter] = made
            found.setdefault(made.letter, {}).update({segment.number: segment for segment in made.segments})
    joined = []
    for rung in plan.rungs:
        letter = f"v-{rung.name}"
        segments: list[Segment] = []
        while (segment := found.get(letter, {}).get(len(segments))) is not None:
            segments.append(segment)
        if segments:
            joined.append(msgspec.structs.replace(about[letter], segments=tuple(segments)))
    return joined


def _files(plan: Plan, videos: Sequence[Made], sound: Made | None, *, whole: bool) -> dict[str, bytes]:
    made = [*videos, *([sound] if sound is not None and sound.segments else [])]
    listed = [hls.Listed(_init(x), f"{x.letter}.m3u8", _peak(x), _average(x)) for x in made]
    files = {f"{x.letter}.m3u8": _playlist(x, whole=whole).encode() for x in made}
    peak, average = sum(x.peak for x in listed), sum(x.average for x in listed)
    files[MULTIVARIANT] = hls.multivariant(listed, peak, average).encode()
    if whole:
        files[MANIFEST] = _manifest(plan, videos, made[len(videos) :]).encode()
    return files


def _playlist(made: Made, *, whole: bool) -> str:
    longest = max(segment.duration for segment in made.segments) / made.scale
    lines = [
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{max(1, math.floor(longest + 0.5))}\n",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if whole else 'EVENT'}\n#EXT-X-MEDIA-SEQUENCE:{made.segments[0].number}\n",
        "#EXT-X-INDEPENDENT-SEGMENTS\n",
        "" if whole else "#EXT-X-START:TIME-OFFSET=0\n",
        f'#EXT-X-MAP:URI="{made.init}"\n',
    ]
    for segment in made.segments:
        lines.append(f"#EXTINF:{segment.duration / made.scale:.5f},\n{made.letter}-{segment.number}.m4s\n")
    if whole:
        lines.append("#EXT-X-ENDLIST\n")
    return "".join(lines)


def _manifest(plan: Plan, videos: Sequence[Made], sounds: Sequence[Made]) -> str:
    made = [*videos, *sounds]
    longest = max(segment.duration / x.scale for x in made for segment in x.segments)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
        f' mediaPresentationDuration="{dash.seconds(max(_length(x) for x in made))}" minBufferTime="PT2S"'
        f' maxSegmentDuration="{dash.seconds(math.ceil(longest))}"><Period id="p0" start="PT0S">'
    ]
    for number, (letter, group) in enumerate((("v", videos), ("a", sounds)), start=1):
        if not group:
            continue
        out.append(dash.adaptation_head(number, letter))
        for x in group:
            lead = round(plan.lead * x.scale / VIDEO_TIMESCALE)
            out.append(dash.representation_head(x.letter, _init(x), lead, x.segments[0].number, _peak(x)))
            out += [f'<S t="{segment.start}" d="{segment.duration}"/>' for segment in x.segments]
            out.append(dash.REPRESENTATION_END)
        out.append("</AdaptationSet>")
    out.append("</Period></MPD>\n")
    return "".join(out)


def _init(made: Made) -> Init:
    """As the writers of live playlists know it."""
    return Init(
        made.init,
        0,
        made.letter,
        made.codec,
        made.scale,
        "",
        made.width,
        made.height,
        made.frame_rate,
        made.sample_rate,
        made.channels,
    )


def _length(made: Made) -> float:
    return sum(segment.duration for segment in made.segments) / made.scale


def _average(made: Made) -> int:
    return max(1, hls.bandwidth(sum(segment.size for segment in made.segments), _length(made)))


def _peak(made: Made) -> int:
    """The largest of a segment; short ones (a tail) count as half a usual one, as their size says little of a rate."""
    usual = max(segment.duration for segment in made.segments)
    return max(1, *(hls.bandwidth(s.size, max(s.duration, usual // 2) / made.scale) for s in made.segments))
