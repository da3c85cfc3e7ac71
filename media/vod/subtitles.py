"""Captions: SubRip and WebVTT read strictly, written anew as WebVTT, and named in playlists and manifest. Pure.

Nothing of an uploaded file goes on but times, a few settings of where a line stands, and text with the tags b, i and u:
styles, regions and notes are left out, and whatever else looks like markup is text.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from media.vod.packaging import MANIFEST, MULTIVARIANT

MOST_CUES = 20_000
MOST_TEXT = 1000
"""Characters of one cue."""
LONGEST = 7 * 24 * 3600.0

# 01:02:03.450, 02:03.450 and SubRip's 01:02:03,450
_TIME = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]\d)[.,](\d{3})"
_TIMES = re.compile(rf"{_TIME}[ \t]+-->[ \t]+{_TIME}(?:[ \t]+(.*))?")
_SETTING = re.compile(
    r"(?:vertical:(?:rl|lr)|line:-?\d{1,3}(?:\.\d{1,3})?%?(?:,(?:start|center|end))?"
    r"|position:\d{1,3}(?:\.\d{1,3})?%(?:,(?:line-left|center|line-right))?|size:\d{1,3}(?:\.\d{1,3})?%"
    r"|align:(?:start|center|end|left|right))"
)
_TAG = re.compile(r"(</?[biu]>)")
_OTHER_TAG = re.compile(r"</?(?:c|v|lang|ruby|rt|font)(?:[.\s][^<>]*)?>|<\d[\d:.]*>|\{\\[^{}]*\}", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class BadSubtitles(ValueError):
    """The text says what is wrong, and in which line, for the person whose file it is."""


@dataclass(frozen=True, slots=True)
class Cue:
    """start, end: s. text: WebVTT cue text, lines between \\n. settings: as WebVTT writes them."""

    start: float
    end: float
    text: str
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """A language (BCP 47), what players show for it, and the WebVTT file."""

    language: str
    label: str
    body: bytes


def read(text: str) -> list[Cue]:
    """The cues of a SubRip or WebVTT file in order of their start. Raises BadSubtitles."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at = 0
    if lines and re.fullmatch(r"WEBVTT(?:[ \t].*)?", lines[0]):
        while at < len(lines) and lines[at].strip():  # its head
            at += 1
    cues: list[Cue] = []
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        first = at
        while at < len(lines) and lines[at].strip():
            at += 1
        block = lines[first:at]
        if re.match(r"(?:NOTE|STYLE|REGION)(?:\s|$)", block[0]):
            continue
        cue = _cue(block, first + 1)
        if cue.text:
            cues.append(cue)
        if len(cues) > MOST_CUES:
            raise BadSubtitles(f"There are more than {MOST_CUES} cues.")
    if not cues:
        raise BadSubtitles("There is no cue in it. Send a SubRip (.srt) or WebVTT (.vtt) file.")
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def write(cues: Iterable[Cue]) -> str:
    """A WebVTT file."""
    out = ["WEBVTT\n"]
    for cue in cues:
        settings = f" {cue.settings}" if cue.settings else ""
        out.append(f"\n{_stamp(cue.start)} --> {_stamp(cue.end)}{settings}\n{cue.text}\n")
    return "".join(out)


def subtitled(files: Mapping[str, bytes], tracks: Sequence[Track], seconds: float) -> dict[str, bytes]:
    """The files of `package`, with these tracks in the multivariant playlist and the manifest, and the tracks' own:
    `text-{language}.vtt`, and `.m3u8` over it as one segment. seconds: of the video."""
    made = dict(files)
    for track in tracks:
        name = f"text-{track.language}"
        made[f"{name}.vtt"] = track.body
        made[f"{name}.m3u8"] = (
            f"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{max(1, math.ceil(seconds))}\n"
            f"#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:{seconds:.5f},\n{name}.vtt\n#EXT-X-ENDLIST\n"
        ).encode()
    if tracks and MULTIVARIANT in made:
        made[MULTIVARIANT] = _listed(made[MULTIVARIANT].decode(), tracks).encode()
    if tracks and MANIFEST in made:
        made[MANIFEST] = _described(made[MANIFEST].decode(), tracks, seconds).encode()
    return made


def _listed(playlist: str, tracks: Sequence[Track]) -> str:
    """RFC 8216bis, section 4.4.6.1: a group that every variant names."""
    media = "".join(
        f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="text",NAME="{_quoted(track.label)}",LANGUAGE="{track.language}"'
        f',DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI="text-{track.language}.m3u8"\n'
        for track in tracks
    )
    head, mark, rest = playlist.partition("#EXT-X-STREAM-INF:")
    variants = (mark + rest).replace("#EXT-X-STREAM-INF:", '#EXT-X-STREAM-INF:SUBTITLES="text",')
    return head + media + variants


def _described(manifest: str, tracks: Sequence[Track], seconds: float) -> str:
    sets = "".join(
        f'<AdaptationSet id="{100 + number}" contentType="text" mimeType="text/vtt" lang="{track.language}">'
        '<Role schemeIdUri="urn:mpeg:dash:role:2011" value="subtitle"/>'
        f"<Label>{escape(track.label)}</Label>"
        f'<Representation id={quoteattr(f"text-{track.language}")} bandwidth="'
        f'{max(1, round(8 * len(track.body) / max(seconds, 1)))}">'
        f"<BaseURL>text-{track.language}.vtt</BaseURL></Representation></AdaptationSet>"
        for number, track in enumerate(tracks)
    )
    return manifest.replace("</Period>", sets + "</Period>")


def _quoted(text: str) -> str:
    """A quoted-string has no quote and no end of line (section 4.2)."""
    return _CONTROL.sub(" ", text).replace('"', "'").replace("\n", " ")


def _cue(block: list[str], number: int) -> Cue:
    """An optional line of a name, the times, the text. number: of the block's first line."""
    at = 0 if "-->" in block[0] else 1
    found = _TIMES.fullmatch(block[at].strip()) if at < len(block) else None
    if found is None:
        raise BadSubtitles(f"Line {number + at}: there should be times as 00:01:02.500 --> 00:01:04.000.")
    start, end = _seconds(found.groups()[:4]), _seconds(found.groups()[4:8])
    if not start < end <= LONGEST:
        raise BadSubtitles(f"Line {number + at}: a cue has to end after it begins, within a week.")
    text = "\n".join(_clean(line) for line in block[at + 1 :]).strip()
    if len(text) > MOST_TEXT:
        raise BadSubtitles(f"Line {number + at}: a cue may have {MOST_TEXT} characters.")
    settings = " ".join(part for part in (found[9] or "").split() if _SETTING.fullmatch(part))
    return Cue(start, end, text, settings)


def _clean(line: str) -> str:
    """Text with b, i and u; an arrow would be read as times."""
    plain = _OTHER_TAG.sub("", _CONTROL.sub("", line)).replace("-->", "→")
    parts = _TAG.split(plain)
    return "".join(
        part if number % 2 else html.escape(html.unescape(part), quote=False) for number, part in enumerate(parts)
    )


def _seconds(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds, thousandths = (int(part or 0) for part in groups)
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _stamp(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{thousandths // 1000:02}.{thousandths % 1000:03}"
