"""Encrypted files against other people's programs: ffmpeg decrypts what we made, and the picture is the same."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path
from uuid import UUID

import av
import pytest

from media.package.protect import (
    Key,
    aes_128,
    aes_128_playlist,
    clearkey_manifest,
    clearkey_playlist,
    form_of,
    init_before,
    number_of,
    protected_init,
    protected_multivariant,
    protected_segment,
    split_name,
    tag_of,
    unprotectable,
)
from media.protocols.errors import MediaError
from media.vod.engine import encode_audio, encode_chunk, probe
from media.vod.options import Options, Rung
from media.vod.packaging import package
from media.vod.plan import make_plan
from tests.media.vod.conftest import H264, ffmpeg, joined

KEY_ID = UUID("8d2f1c3a-94f0-4c57-9a1e-0d6b7a5c4e31")
KEY = Key(KEY_ID.bytes, bytes.fromhex("00112233445566778899aabbccddeeff"))
TAG = "9a1e0d6b7a5c4e31"
RUNG = (Rung("136p", 136, 400_000),)


@pytest.fixture(scope="module", params=["h264", "hevc"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole set, of a picture and a sound that take many bytes."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "source.mp4"
    picture, sound = "testsrc2=s=240x136:r=25:d=2,noise=alls=30:allf=t", "anoisesrc=d=2:r=48000"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *H264, "-c:a", "aac", str(source))
    options = Options(codec=request.param, ladder=RUNG, segment_seconds=1.0, pass_through=False, preset="ultrafast")
    asyncio.run(write_set(source, folder, options))
    return folder


async def write_set(source: Path, folder: Path, options: Options) -> None:
    plan = make_plan(await probe(source), options)
    results = [await encode_chunk(source, plan, chunk.number, ["136p"], folder) for chunk in plan.chunks]
    for name, body in package(plan, results, await encode_audio(source, plan, folder)).items():
        (folder / name).write_bytes(body)


def decoded(path: Path, *before: str) -> list[str]:
    """The digest of each picture or piece of sound, by the ffmpeg program. A file is read as a stream: version 5.1
    mixes up the fragments of an encrypted one that it can seek in, its own too."""
    streamed = path.suffix == ".mp4"
    command = ["ffmpeg", "-v", "error", *before, "-i", "pipe:0" if streamed else str(path), "-f", "framemd5", "-"]
    given = path.read_bytes() if streamed else b""
    said = subprocess.run(command, check=True, timeout=60, capture_output=True, input=given)
    assert not said.stderr
    lines = said.stdout.decode().splitlines()
    return [line.rsplit(",", 1)[1].strip() for line in lines if not line.startswith("#")]


def segments(folder: Path, letter: str) -> list[Path]:
    return sorted(folder.glob(f"{letter}-[0-9]*.m4s"), key=lambda path: number_of(path.name))


@pytest.mark.parametrize("letter", ["v-136p", "a"])
def test_ffmpeg_decrypts_common_encryption(plain: Path, letter: str, tmp_path: Path) -> None:
    init = (plain / f"{letter}-init.mp4").read_bytes()
    form = form_of(init)
    made = [protected_segment(path.read_bytes(), form, KEY) for path in segments(plain, letter)]
    whole = tmp_path / "whole.mp4"
    whole.write_bytes(protected_init(init, KEY.id) + b"".join(made))
    clear = decoded(joined(plain, letter))
    assert len(clear) == 50 or letter == "a"
    assert decoded(whole, "-decryption_key", KEY.secret.hex()) == clear
    # without the key nobody sees it: it is not only said to be encrypted
    with av.open(str(whole)) as container, av.open(str(joined(plain, letter))) as other:
        hidden = [bytes(packet) for packet in container.demux() if packet.size]
        shown = [bytes(packet) for packet in other.demux() if packet.size]
    assert [len(data) for data in hidden] == [len(data) for data in shown]
    changed = [a != b and a[-16:] != b[-16:] for a, b in zip(hidden, shown, strict=True)]
    # of a B-frame of HEVC there may be less than what always stays clear of a slice
    assert all(changed) if letter == "a" else sum(changed) > len(changed) / 2
    # the same again is the same, so that ranges and caches fit; what is another segment has other IVs
    again = protected_segment(segments(plain, letter)[0].read_bytes(), form, KEY)
    assert again == made[0]
    ivs = [iv for data in made for iv in told_ivs(data, split=letter != "a")]
    assert len(set(ivs)) == len(ivs) == len(shown)


def told_ivs(segment: bytes, *, split: bool) -> list[bytes]:
    at = segment.index(b"senc") + 4
    flags, count = int.from_bytes(segment[at : at + 4], "big"), int.from_bytes(segment[at + 4 : at + 8], "big")
    assert flags == (2 if split else 0)
    at += 8
    found = []
    for _ in range(count):
        found.append(segment[at : at + 8])
        at += 8 + (2 + 6 * int.from_bytes(segment[at + 8 : at + 10], "big") if split else 0)
    return found


def test_ffmpeg_plays_aes_128(plain: Path, tmp_path: Path) -> None:
    for path in plain.glob("*.m4s"):
        body = aes_128(path.read_bytes(), KEY.secret, number_of(path.name))
        (tmp_path / f"{TAG}.{path.name}").write_bytes(body)
    for path in plain.glob("*-init.mp4"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / f"{TAG}.key").write_bytes(KEY.secret)
    for letter in ("v-136p", "a"):
        text = aes_128_playlist((plain / f"{letter}.m3u8").read_text(), TAG)
        assert text.count("#EXT-X-KEY:") == 1
        assert text.index("#EXT-X-MAP:") < text.index("#EXT-X-KEY:")
        (tmp_path / f"{letter}.m3u8").write_text(text)
        clear = decoded(joined(plain, letter))
        played = decoded(tmp_path / f"{letter}.m3u8", "-allowed_extensions", "ALL")
        assert played == clear


def test_aes_128_of_a_set_with_several_inits_and_other_numbers() -> None:
    """As of clips and recordings: names do not count as the playlist does, and configurations change."""
    playlist = "\n".join(
        [
            "#EXTM3U", "#EXT-X-MEDIA-SEQUENCE:5", '#EXT-X-MAP:URI="v-init.mp4"',
            "#EXTINF:4,", "v-5.m4s", "#EXTINF:4,", "v-6.m4s",
            "#EXT-X-DISCONTINUITY", '#EXT-X-MAP:URI="v-init-2.mp4"', "#EXTINF:4,", "v-70.m4s",
            "#EXT-X-GAP", "#EXTINF:4,", "v-71.m4s", "#EXTINF:4,", "v-9.m4s",
        ]
    )  # fmt: skip
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{TAG}.key"'
    assert aes_128_playlist(playlist, TAG).splitlines() == [
        "#EXTM3U", "#EXT-X-MEDIA-SEQUENCE:5", '#EXT-X-MAP:URI="v-init.mp4"',
        key, "#EXTINF:4,", f"{TAG}.v-5.m4s", "#EXTINF:4,", f"{TAG}.v-6.m4s",
        "#EXT-X-DISCONTINUITY", "#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="v-init-2.mp4"',
        f"{key},IV=0x{70:032x}", "#EXTINF:4,", f"{TAG}.v-70.m4s",
        f"{key},IV=0x{71:032x}", "#EXT-X-GAP", "#EXTINF:4,", f"{TAG}.v-71.m4s",
        key, "#EXTINF:4,", f"{TAG}.v-9.m4s",
    ]  # fmt: skip
    assert init_before(playlist, "v-6.m4s") == "v-init.mp4"
    assert init_before(playlist, "v-71.m4s") == "v-init-2.mp4"
    assert init_before(playlist, "v-7.m4s") is None
    common = clearkey_playlist(playlist, KEY_ID)
    assert common.count("#EXT-X-KEY:METHOD=SAMPLE-AES-CTR") == 1
    assert f'URI="{TAG}.v-init-2.mp4"' in common
    assert f"\n{TAG}.v-71.m4s\n" in common
    with pytest.raises(MediaError):
        aes_128_playlist("#EXTM3U\nsomething.else\n", TAG)


def test_aes_128_pads_and_counts_as_the_rfc_says() -> None:
    """NIST SP 800-38A, F.2.1 (CBC-AES128): the first block, with the IV as the number; RFC 8216, 5.2, for the rest."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    iv = int("000102030405060708090a0b0c0d0e0f", 16)
    block = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
    made = aes_128(block, key, iv)
    assert made[:16] == bytes.fromhex("7649abac8119b246cee98e9b12e9197d")
    assert len(made) == 32  # a whole block of padding behind a whole block
    assert len(aes_128(block[:15], key, iv)) == 16


def test_the_manifest_and_the_multivariant_playlist_tell_of_the_key(plain: Path) -> None:
    manifest = (plain / "index.mpd").read_text()
    captioned = manifest.replace("</Period>", '<AdaptationSet id="100" contentType="text"></AdaptationSet></Period>')
    made = clearkey_manifest(captioned, KEY_ID)
    assert made.count("<ContentProtection ") == 4
    assert made.count(f'cenc:default_KID="{KEY_ID}"') == 2
    assert re.findall(r'media="([^"]*)"', made) == [f"{TAG}.v-136p-$Number$.m4s", f"{TAG}.a-$Number$.m4s"]
    assert 'contentType="text"></AdaptationSet>' in made
    index = (plain / "index.m3u8").read_text()
    assert protected_multivariant(index, KEY_ID, whole=True).splitlines()[:2] == [
        "#EXTM3U",
        f'#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{TAG}.key"',
    ]
    assert f"KEYID=0x{KEY_ID.hex}" in protected_multivariant(index, KEY_ID, whole=False)
    assert unprotectable(index) == []
    assert unprotectable(index.replace("mp4a.40.2", "av01.0.04M.08")) == ["av01.0.04M.08"]


def test_files_that_are_not_ours_are_refused(plain: Path) -> None:
    init = (plain / "v-136p-init.mp4").read_bytes()
    form = form_of(init)
    segment = (plain / "v-136p-0.m4s").read_bytes()
    for cut in (4, 20, 90, len(segment) // 2):
        with pytest.raises(MediaError):
            protected_segment(segment[:cut], form, KEY)
    with pytest.raises(MediaError):
        protected_segment(segment.replace(b"trun", b"free"), form, KEY)
    with pytest.raises(MediaError):
        protected_segment(bytes(4) + segment[4:], form, KEY)
    for broken in (init[:100], init.replace(b"stsd", b"free"), b""):
        with pytest.raises(MediaError):
            protected_init(broken, KEY.id)


def test_names() -> None:
    assert tag_of(KEY_ID) == TAG
    assert split_name(f"{TAG}.v-136p-3.m4s") == (TAG, "v-136p-3.m4s")
    for name in ("v-136p-3.m4s", f"{TAG}.key", "index.m3u8"):
        assert split_name(name) == ("", name)
