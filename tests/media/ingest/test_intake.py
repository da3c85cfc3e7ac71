from __future__ import annotations

import struct
from pathlib import Path

import av
import pytest

from media.ingest.intake import MAX_CHANGES, MAX_DAMAGED, Intake
from media.protocols.errors import MediaError, UnsupportedMedia
from media.samples import Codec, Sample, Track
from tests.media.ingest.conftest import Recorder

ASC = bytes.fromhex("1190")
ASC_44100 = bytes.fromhex("1210")


@pytest.fixture(scope="session")
def avcc(flv: Path) -> bytes:
    with av.open(str(flv)) as container:
        return bytes(container.streams.video[0].codec_context.extradata)


def header(config: bytes) -> bytes:
    return b"\x17\x00\x00\x00\x00" + config


def frame(*, key: bool = False, composition: int = 0, data: bytes = b"\x00\x00\x00\x02\x65\x00") -> bytes:
    return bytes((0x17 if key else 0x27, 1)) + struct.pack(">i", composition)[1:] + data


def sound(data: bytes = b"\x21\x10raw") -> bytes:
    return b"\xaf\x01" + data


@pytest.fixture
def out() -> Recorder:
    return Recorder()


@pytest.fixture
def intake(out: Recorder, avcc: bytes) -> Intake:
    intake = Intake(out)
    intake.metadata({"framerate": 29.97})
    intake.video(0, header(avcc))
    intake.audio(0, b"\xaf\x00" + ASC)
    return intake


def test_tracks(intake: Intake, out: Recorder) -> None:
    video, audio = out.tracks
    assert (video.id, video.codec, video.width, video.height, video.timescale) == (1, Codec.H264, 320, 180, 90_000)
    assert video.codec_string.startswith("avc1.")
    assert video.frame_rate == 29.97
    assert (audio.id, audio.codec_string, audio.sample_rate, audio.channels) == (2, "mp4a.40.2", 48000, 2)
    assert audio.timescale == 48000


def test_pictures_before_the_first_key_frame_are_dropped(intake: Intake, out: Recorder) -> None:
    for i in range(3):
        intake.video(40 * i, frame())
    intake.video(120, frame(key=True, composition=80))
    intake.video(160, frame(composition=-40))
    intake.flush()
    first, second = out.of(1)
    assert (first.key, first.pts - first.dts) == (True, 7200)
    assert (second.key, second.pts - second.dts) == (False, -3600)
    assert second.dts - first.dts == 3600


def test_one_flush_is_one_batch(intake: Intake, out: Recorder) -> None:
    intake.video(0, frame(key=True))
    intake.audio(0, sound())
    intake.audio(21, sound())
    assert out.batches == 0
    intake.flush()
    intake.flush()
    assert out.batches == 1
    assert [s.duration for s in out.of(2)] == [1024, 1024]
    assert out.of(2)[0].data == b"\x21\x10raw"


def test_an_equal_header_is_ignored_and_another_one_parts_the_batches(intake: Intake, out: Recorder) -> None:
    intake.audio(0, sound())
    intake.audio(20, b"\xaf\x00" + ASC)
    intake.audio(21, sound())
    intake.audio(40, b"\xaf\x00" + ASC_44100)
    intake.audio(43, sound())
    intake.flush()
    kinds = [type(item) for item in out.log]
    assert kinds == [Track, Track, Sample, Sample, Track, Sample]
    assert out.tracks[2].timescale == 44100
    assert out.of(2)[2].dts == 10_043 * 441 // 10


def test_a_new_picture_header_waits_for_a_key_frame(intake: Intake, out: Recorder, avcc: bytes) -> None:
    intake.video(0, frame(key=True))
    intake.video(40, header(avcc + b"\x00"))
    intake.video(41, frame())
    intake.video(80, frame(key=True))
    intake.flush()
    assert [s.dts - 900_000 for s in out.of(1)] == [0, 7200]


def test_headers_that_never_rest_are_an_error(out: Recorder, avcc: bytes) -> None:
    now = 1000.0
    intake = Intake(out, clock=lambda: now)
    for number in range(MAX_CHANGES):
        intake.video(10 * number, header(avcc + bytes((number,))))
        intake.video(10 * number, frame(key=True))
    with pytest.raises(MediaError, match="changed 11 times within a minute"):
        intake.video(500, header(avcc))
    intake = Intake(out, clock=lambda: now)
    for number in range(40):
        now += 7.0
        intake.video(7000 * number, header(avcc + bytes((number,))))


def test_a_jump_flushes_restarts_and_waits_for_a_key_frame(intake: Intake, out: Recorder) -> None:
    intake.video(0, frame(key=True))
    intake.video(1_000_000, frame())
    intake.audio(1_000_010, sound())
    intake.video(1_000_040, frame(key=True))
    intake.flush()
    assert [item if isinstance(item, str) else type(item).__name__ for item in out.log[2:]] == [
        "Sample",
        "restart",
        "Sample",
        "Sample",
    ]
    assert [s.track for s in out.log if isinstance(s, Sample)] == [1, 2, 1]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x17",
        b"\x17\x02\x00\x00\x00",
        b"\x57\x01",
        b"\x27\x01\x00\x00\x00",
        b"\x17\x00\x00\x00\x00",
        b"\x27\x01\x00",
    ],
)
def test_tags_without_a_picture_are_passed_over(intake: Intake, out: Recorder, body: bytes) -> None:
    intake.video(0, body)
    intake.audio(0, b"")
    intake.audio(0, b"\xaf")
    intake.audio(0, b"\xaf\x01")
    intake.audio(0, b"\xaf\x00")
    intake.flush()
    assert not out.of(1)
    assert not out.of(2)
    assert intake.damaged == 0


def test_damaged_frames_are_dropped_until_it_is_too_many(intake: Intake, out: Recorder) -> None:
    intake.video(0, frame(key=True))
    bad = frame(data=b"\x7f\xff\xff\xff\x65")
    for i in range(MAX_DAMAGED):
        intake.video(i, bad)
    assert intake.damaged == MAX_DAMAGED
    with pytest.raises(MediaError, match="in a row"):
        intake.video(400, bad)


def test_media_without_a_header_is_an_error_in_the_end(out: Recorder) -> None:
    intake = Intake(out)
    for i in range(MAX_DAMAGED):
        intake.video(i, frame(key=True))
    with pytest.raises(MediaError, match="before their sequence header"):
        intake.video(999, frame(key=True))


@pytest.mark.parametrize(
    ("is_video", "body", "words"),
    [
        (True, b"\x12\x00\x00", "Sorenson"),
        (True, b"\x90vp08", "VP8"),
        (True, b"\x96\x11hvc1\x00", "multitrack"),
        (True, b"\x96\x01hvc1\x01", "multitrack"),
        (False, b"\x2f\xff", "MP3"),
        (False, b"\x90ac-3", "AC-3"),
        (False, b"\x95\x11Opus\x00", "multitrack"),
    ],
)
def test_what_cannot_be_carried_is_said(intake: Intake, is_video: bool, body: bytes, words: str) -> None:
    with pytest.raises(UnsupportedMedia, match=words):
        (intake.video if is_video else intake.audio)(0, body)


def test_adts_headers_are_taken_off(intake: Intake, out: Recorder) -> None:
    raw = b"\x21\x10raw"
    size = 7 + len(raw)
    adts = bytes((0xFF, 0xF1, 0x4C, 0x80 | size >> 11, size >> 3 & 255, (size & 7) << 5 | 0x1F, 0xFC))
    intake.audio(0, sound(adts + raw))
    intake.flush()
    assert out.of(2)[0].data == raw
