"""Captions: what is read, what is refused, what is written."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from media.vod.subtitles import BadSubtitles, Cue, Track, read, subtitled, write

WEBVTT = """\ufeffWEBVTT - of a film
Kind: captions

STYLE
::cue { background: url(http://example.org/x) }

NOTE written by hand

one
00:01.000 --> 00:02.500 align:start position:10% onclick:alert
<v Fred>Hello <i>there</i>,<00:01.500> <c.loud>you</c>

00:00:00.000 --> 00:00:00.900
First
"""


def test_webvtt() -> None:
    assert read(WEBVTT) == [
        Cue(0.0, 0.9, "First"),
        Cue(1.0, 2.5, "Hello <i>there</i>, you", "align:start position:10%"),
    ]


def test_subrip() -> None:
    text = "1\r\n00:00:01,000 --> 00:00:02,000\r\n{\\an8}Two\r\nlines & <font color=red>more</font>\r\n\r\n\r\n2\r\n"
    text += "100:59:59,999 --> 101:00:00,000\r\n<a href='x'>-->\r\n"
    cues = read(text)
    assert [cue.text for cue in cues] == ["Two\nlines &amp; more", "&lt;a href='x'&gt;→"]
    assert read(write(cues)) == cues  # what is written is read as the same


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no cue"),
        ("WEBVTT\n", "no cue"),
        ("just words", "Line 2"),
        ("1\nwords\n", "Line 2"),
        ("00:02.000 --> 00:01.000\nx", "end after it begins"),
        ("00:00.000 --> 00:99.000\nx", "Line 1"),
        ("00:00.000 --> 999:00:00.000\nx", "within a week"),
        ("00:00.000 --> 00:01.000\n" + "x" * 1001, "1000 characters"),
        ("00:00.000 --> 00:01.000\nx\n\n" * 20_001, "20000 cues"),
    ],
)
def test_what_is_no_caption_file(text: str, says: str) -> None:
    with pytest.raises(BadSubtitles, match=says):
        read(text)


def test_playlists_name_every_language() -> None:
    files = {
        "index.m3u8": b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=2\nb.m3u8\n",
        "index.mpd": b"<MPD><Period></Period></MPD>",
    }
    tracks = [Track("en", 'Say "hi"\n#EXT', b"WEBVTT\n"), Track("pt-BR", "<b>&", b"WEBVTT\n")]
    made = subtitled(files, tracks, 61.5)
    lines = made["index.m3u8"].decode().splitlines()
    assert [line for line in lines if line.startswith("#EXT-X-STREAM-INF")] == [
        '#EXT-X-STREAM-INF:SUBTITLES="text",BANDWIDTH=1',
        '#EXT-X-STREAM-INF:SUBTITLES="text",BANDWIDTH=2',
    ]
    assert [line.partition('NAME="')[2].partition('"')[0] for line in lines if "TYPE=SUBTITLES" in line] == [
        "Say 'hi' #EXT",
        "<b>&",
    ]
    sets = ElementTree.fromstring(made["index.mpd"]).findall(".//AdaptationSet")
    assert [(one.get("lang"), one.findtext("Label")) for one in sets] == [("en", 'Say "hi"\n#EXT'), ("pt-BR", "<b>&")]
    assert b"#EXTINF:61.50000,\ntext-en.vtt" in made["text-en.m3u8"]
    assert subtitled(files, [], 61.5) == files
