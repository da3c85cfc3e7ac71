"""Playlists and manifest of what is there so far. Pure: results in, files out; to write them again changes no segment.

Everything is written over stretches (see media.vod.stretches): `package` makes one of what came of a plan, and
`package_stretches` takes those of a set whose segments were there already. Where one stretch follows another, playlists
have a discontinuity and the manifest a period.

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
from media.vod.plan import Plan, RungPlan
from media.vod.results import AudioResult, ChunkResult, Made, Segment
from media.vod.stretches import Stretch, whole_letters

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
        return _of_plan(plan, [], sound, whole=True) if sound is not None and sound.segments else {}
    videos = _joined(plan, results)
    whole = [made for made in videos if len(made.segments) == plan.segments]
    if whole:
        return _of_plan(plan, whole, sound, whole=True)
    if not videos:
        return {}
    begun = max(videos, key=lambda made: len(made.segments))
    end = begun.segments[-1].number
    if sound is not None:
        sound = msgspec.structs.replace(sound, segments=tuple(s for s in sound.segments if s.number <= end))
    return _of_plan(plan, [begun], sound, whole=False)


def stretches_of(plan: Plan, results: Iterable[ChunkResult], audio: AudioResult | None = None) -> list[Stretch]:
    """What `package` makes of the same once something is whole, as a stretch; nothing before."""
    sound = audio.rendition if audio is not None else None
    made = [made for made in _joined(plan, results) if len(made.segments) == plan.segments]
    if not made and plan.rungs:
        return []
    if sound is not None and sound.segments:
        made.append(sound)
    return [_stretch(plan, made)] if made else []


def package_stretches(stretches: Sequence[Stretch]) -> dict[str, bytes]:
    """The same files of a set: each rendition that is there from the start to the end (see `whole_letters`). Where a
    stretch has no such track at all, playlists have gaps. Nothing without any media."""
    letters = whole_letters(stretches)
    return _files(stretches, letters, whole=True) if letters else {}


def described(stretches: Sequence[Stretch]) -> list[RungPlan]:
    """The pictures among what `package_stretches` writes, from the smallest to the largest."""
    found = []
    for letter in whole_letters(stretches):
        runs = [made for stretch in stretches if (made := stretch.rendition(letter)) is not None]
        main = _main(runs)
        if letter[0] == "v":
            found.append(RungPlan(letter[2:], main.width, main.height, _peak(runs)))
    return found


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
        letter = plan.letter(rung.name)
        segments: list[Segment] = []
        while (segment := found.get(letter, {}).get(plan.first + len(segments))) is not None:
            segments.append(segment)
        if segments:
            joined.append(msgspec.structs.replace(about[letter], segments=tuple(segments)))
    return joined


def _of_plan(plan: Plan, videos: Sequence[Made], sound: Made | None, *, whole: bool) -> dict[str, bytes]:
    made = [*videos, *([sound] if sound is not None and sound.segments else [])]
    return _files([_stretch(plan, made)], [x.letter for x in made], whole=whole)


def _stretch(plan: Plan, made: Sequence[Made]) -> Stretch:
    lengths = tuple(segment.duration / made[0].scale for segment in made[0].segments)
    return Stretch(plan.lead + plan.origin, plan.first, lengths, tuple(made))


def _files(stretches: Sequence[Stretch], letters: Sequence[str], *, whole: bool) -> dict[str, bytes]:
    runs = {x: [made for stretch in stretches if (made := stretch.rendition(x)) is not None] for x in letters}
    listed = [hls.Listed(_init(_main(runs[x])), f"{x}.m3u8", _peak(runs[x]), _average(runs[x])) for x in letters]
    files = {f"{x}.m3u8": _playlist(stretches, x, whole=whole).encode() for x in letters}
    peak, average = sum(x.peak for x in listed), sum(x.average for x in listed)
    files[MULTIVARIANT] = hls.multivariant(listed, peak, average).encode()
    if whole:
        files[MANIFEST] = _manifest(stretches, letters).encode()
    return files


def _playlist(stretches: Sequence[Stretch], letter: str, *, whole: bool) -> str:
    runs = [made for stretch in stretches if (made := stretch.rendition(letter)) is not None]
    longest = max(
        *(segment.duration / made.scale for made in runs for segment in made.segments),
        *(seconds for stretch in stretches for seconds in stretch.seconds if stretch.rendition(letter) is None),
        0.0,
    )
    lines = [
        f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{max(1, math.floor(longest + 0.5))}\n",
        f"#EXT-X-PLAYLIST-TYPE:{'VOD' if whole else 'EVENT'}\n#EXT-X-MEDIA-SEQUENCE:{_first(stretches, letter)}\n",
        "#EXT-X-INDEPENDENT-SEGMENTS\n",
        "" if whole else "#EXT-X-START:TIME-OFFSET=0\n",
    ]
    for place, stretch in enumerate(stretches):
        if place:
            lines.append("#EXT-X-DISCONTINUITY\n")
        made = stretch.rendition(letter)
        if made is None:
            lines += [
                f"#EXT-X-GAP\n#EXTINF:{seconds:.5f},\n{letter}-{number}.m4s\n"
                for number, seconds in enumerate(stretch.seconds, stretch.first)
            ]
            continue
        lines.append(f'#EXT-X-MAP:URI="{made.init}"\n')
        for segment in made.segments:
            lines.append(f"#EXTINF:{segment.duration / made.scale:.5f},\n{letter}-{segment.number}.m4s\n")
    if whole:
        lines.append("#EXT-X-ENDLIST\n")
    return "".join(lines)


def _first(stretches: Sequence[Stretch], letter: str) -> int:
    made = stretches[0].rendition(letter)
    return made.segments[0].number if made is not None else stretches[0].first


def _manifest(stretches: Sequence[Stretch], letters: Sequence[str]) -> str:
    longest = max(
        s.duration / made.scale for stretch in stretches for made in stretch.renditions for s in made.segments
    )
    lengths = [_shown(stretch, letters) for stretch in stretches]
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" profiles="urn:mpeg:dash:profile:isoff-live:2011"'
        f' mediaPresentationDuration="{dash.seconds(sum(lengths))}" minBufferTime="PT2S"'
        f' maxSegmentDuration="{dash.seconds(math.ceil(longest))}">'
    ]
    at = 0.0
    for place, (stretch, length) in enumerate(zip(stretches, lengths, strict=True)):
        ends = f' duration="{dash.seconds(length)}"' if len(stretches) > 1 else ""
        out.append(f'<Period id="p{place}" start="{dash.seconds(at)}"{ends}>')
        for number, group in enumerate(_groups(stretch, letters), start=1):
            out.append(dash.adaptation_head(number, group[0].letter))
            for made in group:
                offset = round(stretch.start * made.scale / VIDEO_TIMESCALE)
                first = made.segments[0].number
                out.append(dash.representation_head(made.letter, _init(made), offset, first, _peak([made])))
                out += [f'<S t="{segment.start}" d="{segment.duration}"/>' for segment in made.segments]
                out.append(dash.REPRESENTATION_END)
            out.append("</AdaptationSet>")
        out.append("</Period>")
        at += length
    out.append("</MPD>\n")
    return "".join(out)


def _groups(stretch: Stretch, letters: Sequence[str]) -> list[list[Made]]:
    """Between which a player may change: of one kind and one codec."""
    groups: dict[tuple[str, str], list[Made]] = {}
    for letter in letters:
        made = stretch.rendition(letter)
        if made is not None:
            groups.setdefault((letter[0], made.codec.partition(".")[0]), []).append(made)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0], reverse=True)]


def _shown(stretch: Stretch, letters: Sequence[str]) -> float:
    """How long, s: as long as the longest of its tracks."""
    there = [made for x in letters if (made := stretch.rendition(x)) is not None]
    return max((_length([made]) for made in there), default=stretch.length)


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


def _main(runs: Sequence[Made]) -> Made:
    """What the multivariant playlist says of a rendition whose format changes: the largest picture, so that no player
    stops at less; else what most of it is in."""
    return max(runs, key=lambda made: (made.width * made.height, _length([made])))


def _length(runs: Sequence[Made]) -> float:
    return sum(segment.duration / made.scale for made in runs for segment in made.segments)


def _average(runs: Sequence[Made]) -> int:
    return max(1, hls.bandwidth(sum(segment.size for made in runs for segment in made.segments), _length(runs)))


def _peak(runs: Sequence[Made]) -> int:
    """The largest of a segment; short ones (a tail) count as half a usual one, as their size says little of a rate."""
    usual = max(segment.duration / made.scale for made in runs for segment in made.segments)
    return max(
        1,
        *(hls.bandwidth(s.size, max(s.duration / made.scale, usual / 2)) for made in runs for s in made.segments),
    )
