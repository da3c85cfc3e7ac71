"""Real encoders push; what comes out is compared with what went in."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shlex
import sys
from pathlib import Path

import av
import pytest

from media.ingest.gate import Refused
from media.ingest.rtmp import RtmpServer
from media.samples import Codec
from tests.media.ingest.conftest import OpenGate, Recorder, until


async def run(line: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *shlex.split(line),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(45):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")


async def pushed(gate: OpenGate) -> Recorder:
    await until(lambda: gate.publishers and gate.publishers[-1].closed)
    return gate.publishers[-1]


def packets(path: Path, kind: str) -> list[tuple[float, float, bytes]]:
    """(dts, pts, payload) with times in s, as libavformat reads them."""
    with av.open(str(path)) as container:
        return [
            (float(p.dts * p.time_base), float(p.pts * p.time_base), bytes(p))
            for p in container.demux(getattr(container.streams, kind)[0])
            if p.dts is not None and p.pts is not None
        ]


def check(recorder: Recorder, path: Path) -> None:
    """All frames, with their times: pictures to the millisecond, sound within half a frame and evenly spaced."""
    pictures, sounds = packets(path, "video"), packets(path, "audio")
    video, audio = recorder.of(1), recorder.of(2)
    assert [s.data for s in video] == [p for _, _, p in pictures]
    assert [s.data for s in audio] == [p for _, _, p in sounds]
    zero = video[0].dts / 90_000 - pictures[0][0]
    for sample, (dts, pts, _) in zip(video, pictures, strict=True):
        assert sample.dts / 90_000 - zero == pytest.approx(dts, abs=0.0011)
        assert sample.pts / 90_000 - zero == pytest.approx(pts, abs=0.0011)
    rate = recorder.tracks[-1].timescale
    assert {b.dts - a.dts for a, b in itertools.pairwise(audio)} == {1024}
    assert audio[0].dts / rate - zero == pytest.approx(sounds[0][0], abs=0.0011)


async def test_ffmpeg(server: RtmpServer, gate: OpenGate, flv: Path) -> None:
    code, said = await run(f"ffmpeg -nostdin -v error -i {flv} -c copy -f flv rtmp://127.0.0.1:{server.port}/live/KEY")
    assert code == 0, said
    recorder = await pushed(gate)
    assert recorder.request is not None
    assert (recorder.request.key, recorder.request.protocol) == ("KEY", "rtmp")
    assert recorder.closed == ("the encoder ended the stream", True)
    assert recorder.tracks[0].frame_rate == 30
    assert any(s.pts > s.dts for s in recorder.of(1))
    check(recorder, flv)


@pytest.mark.parametrize("element", ["rtmpsink location='{} live=1'", "rtmp2sink location={}"])
async def test_gstreamer(server: RtmpServer, gate: OpenGate, flv: Path, element: str) -> None:
    sink = element.format(f"rtmp://127.0.0.1:{server.port}/live/KEY")
    code, said = await run(
        "gst-launch-1.0 -q flvmux name=mux streamable=true ! " + sink + " "
        "videotestsrc num-buffers=60 ! video/x-raw,width=320,height=180,framerate=30/1 "
        "! x264enc key-int-max=30 ! h264parse ! mux. "
        "audiotestsrc num-buffers=90 ! audio/x-raw,rate=48000,channels=2 ! voaacenc ! aacparse ! mux."
    )
    assert code == 0, said
    recorder = await pushed(gate)
    assert {t.codec for t in recorder.tracks} == {Codec.H264, Codec.AAC}
    assert len(recorder.of(1)) == 60
    assert len(recorder.of(2)) > 60


async def test_librtmp_copies_a_file(server: RtmpServer, gate: OpenGate) -> None:
    """rtmpdump only plays; it goes through librtmp's handshake and is told that nothing is played here."""
    code, said = await run(f"rtmpdump -q -r rtmp://127.0.0.1:{server.port}/live -y KEY -o {os.devnull}")
    assert code != 0, said
    await until(lambda: gate.turned)
    assert "play" in gate.turned[0][1]


@pytest.mark.parametrize("only", ["-an", "-vn"])
async def test_one_track_only(server: RtmpServer, gate: OpenGate, flv: Path, only: str) -> None:
    code, said = await run(
        f"ffmpeg -nostdin -v error -i {flv} -c copy {only} -f flv rtmp://127.0.0.1:{server.port}/live/KEY"
    )
    assert code == 0, said
    recorder = await pushed(gate)
    assert [t.id for t in recorder.tracks] == [1 if only == "-an" else 2]


async def test_a_refusal_is_shown_by_ffmpeg(server: RtmpServer, gate: OpenGate, flv: Path) -> None:
    gate.refuse = Refused("unknown_key", "Unknown stream key.")
    code, said = await run(f"ffmpeg -nostdin -v error -i {flv} -c copy -f flv rtmp://127.0.0.1:{server.port}/live/NO")
    assert code != 0
    assert "Unknown stream key." in said


async def test_a_codec_that_cannot_be_carried_is_said_to_the_encoder(
    server: RtmpServer, gate: OpenGate, flv: Path
) -> None:
    url = f"rtmp://127.0.0.1:{server.port}/live/KEY"
    code, _ = await run(f"ffmpeg -nostdin -v error -re -i {flv} -c:v copy -c:a libmp3lame -ar 44100 -f flv {url}")
    assert code != 0
    await until(lambda: gate.turned)
    assert gate.turned == [("KEY", "MP3 sound cannot be carried: set the encoder to AAC or Opus")]


async def test_gstreamer_shows_a_refusal(server: RtmpServer, gate: OpenGate) -> None:
    gate.refuse = Refused("unknown_key", "Unknown stream key.")
    code, said = await run(
        "gst-launch-1.0 videotestsrc num-buffers=3 ! video/x-raw,width=64,height=64 ! x264enc ! flvmux streamable=true "
        f"! rtmp2sink location=rtmp://127.0.0.1:{server.port}/live/NO"
    )
    assert code != 0
    assert "denied" in said.lower()


@pytest.mark.parametrize(
    ("video", "audio", "names"),
    [
        ("libx264", "aac", ("avc1.", "mp4a.40.2")),
        ("libx265", "aac", ("hvc1.1.6.L", "mp4a.40.2")),
        ("libvpx-vp9", "libopus", ("vp09.00.", "opus")),
    ],
)
async def test_pyav_with_enhanced_rtmp(
    server: RtmpServer, gate: OpenGate, video: str, audio: str, names: tuple[str, str]
) -> None:
    url = f"rtmp://127.0.0.1:{server.port}/live/KEY"
    code, said = await run(f"{sys.executable} {Path(__file__).with_name('pyav_encoder.py')} {url} {video} {audio}")
    assert code == 0, said
    sent = [bytes.fromhex(line) for line in re.findall("^sent ([0-9a-f]+)$", said, re.M)]
    recorder = await pushed(gate)
    tracks = sorted(recorder.tracks, key=lambda t: t.id)
    assert tracks[0].codec_string.startswith(names[0])
    assert tracks[1].codec_string == names[1]
    assert (tracks[0].width, tracks[0].height) == (320, 192)
    assert (tracks[1].sample_rate, tracks[1].channels) == (48000, 2)
    got = [s.data for s in recorder.of(1)]
    assert len(got) == len(sent)
    if video not in ("libx264", "libx265"):
        assert [d.removeprefix(b"\x12\x00") for d in sent] == got
    assert recorder.of(1)[0].key
    if audio == "libopus":
        assert {s.duration for s in recorder.of(2)} == {960}
