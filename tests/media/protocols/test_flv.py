from __future__ import annotations

import pytest

from media.protocols.errors import MediaError
from media.protocols.flv import Action, Tag, codec_id, frame, header, parse_audio, parse_video
from media.samples import Codec, Kind, Sample, Track


@pytest.mark.parametrize(
    ("body", "tag"),
    [
        (b"\x17\x00\x00\x00\x00conf", Tag(Action.HEADER, Codec.H264, data=b"conf")),
        (b"\x17\x01\x00\x00\x50data", Tag(Action.FRAME, Codec.H264, True, 80, b"data")),
        (b"\x27\x01\xff\xff\xd8data", Tag(Action.FRAME, Codec.H264, False, -40, b"data")),
        (b"\x17\x02\x00\x00\x00", Tag(Action.END, Codec.H264)),
        (b"\x1c\x01\x00\x00\x00x", Tag(Action.FRAME, Codec.HEVC, True, 0, b"x")),
        (b"\x57\x00", Tag(Action.IGNORE, Codec.H264)),
        (b"\x90hvc1conf", Tag(Action.HEADER, Codec.HEVC, data=b"conf")),
        (b"\x91hvc1\x00\x00\x28data", Tag(Action.FRAME, Codec.HEVC, True, 40, b"data")),
        (b"\xa3hvc1data", Tag(Action.FRAME, Codec.HEVC, False, 0, b"data")),
        (b"\x92hvc1", Tag(Action.END, Codec.HEVC)),
        (b"\x91avc1\xff\xff\xffd", Tag(Action.FRAME, Codec.H264, True, -1, b"d")),
        (b"\x91av01data", Tag(Action.FRAME, Codec.AV1, True, 0, b"data")),
        (b"\xa1vp09data", Tag(Action.FRAME, Codec.VP9, False, 0, b"data")),
        (b"\x94hvc1meta", Tag(Action.IGNORE, Codec.HEVC)),
        (b"\xd1\x00", Tag(Action.IGNORE, Codec.H264)),  # a command frame
        (b"\x97\x02\x00\x00\x01\x01av01data", Tag(Action.FRAME, Codec.AV1, True, 0, b"data")),  # ModEx
        (b"\x97\xff\x00\x00\x00\x01av01data", Tag(Action.FRAME, Codec.AV1, True, 0, b"data")),
        (b"\x96\x01av01\x00data", Tag(Action.FRAME, Codec.AV1, True, 0, b"data")),  # one track, number 0
    ],
)
def test_video(body: bytes, tag: Tag) -> None:
    assert parse_video(body) == tag


@pytest.mark.parametrize(
    ("body", "tag"),
    [
        (b"\xaf\x00\x11\x90", Tag(Action.HEADER, Codec.AAC, data=b"\x11\x90")),
        (b"\xaf\x01raw", Tag(Action.FRAME, Codec.AAC, True, 0, b"raw")),
        (b"\x90OpusOpusHead", Tag(Action.HEADER, Codec.OPUS, data=b"OpusHead")),
        (b"\x91Opusdata", Tag(Action.FRAME, Codec.OPUS, True, 0, b"data")),
        (b"\x91mp4adata", Tag(Action.FRAME, Codec.AAC, True, 0, b"data")),
        (b"\x92Opus", Tag(Action.END, Codec.OPUS)),
        (b"\x94Opus\x00\x02", Tag(Action.IGNORE, Codec.OPUS)),  # channel layout
        (b"\x97\x02\x00\x00\x01\x01Opusdata", Tag(Action.FRAME, Codec.OPUS, True, 0, b"data")),
    ],
)
def test_audio(body: bytes, tag: Tag) -> None:
    assert parse_audio(body) == tag


@pytest.mark.parametrize(
    "body", [b"\x90", b"\x90hv", b"\x97", b"\x97\x02\x00", b"\x97\xff\xff", b"\x96", b"\x96\x01av01"]
)
def test_headers_that_end_too_early(body: bytes) -> None:
    with pytest.raises(MediaError):
        parse_video(body)


def test_a_long_modifier_is_skipped_whole() -> None:
    body = b"\x97\xff\x01\x00" + bytes(257) + b"\x01av01d"
    assert parse_video(body) == Tag(Action.FRAME, Codec.AV1, True, 0, b"d")


@pytest.mark.parametrize("codec", list(Codec))
def test_what_is_written_is_what_is_read(codec: Codec) -> None:
    track = Track(1, codec, 90_000, b"config", "x")
    parse = parse_video if track.kind is Kind.VIDEO else parse_audio
    head = parse(header(track))
    assert (head.action, head.codec, head.data.removeprefix(b"OpusHead")) == (Action.HEADER, codec, b"config")
    carries = codec in (Codec.H264, Codec.HEVC)
    for key, composition in ((True, 0), (False, 80), (False, -40), (True, 1 << 30)):
        got = parse(frame(codec, Sample(1, 0, 0, key, b"data"), composition))
        assert (got.action, got.codec, got.data) == (Action.FRAME, codec, b"data")
        if track.kind is Kind.VIDEO:
            assert got.key is key
            assert got.composition == (min(composition, 0x7FFFFF) if carries else 0)


def test_the_bytes_that_every_target_knows() -> None:
    """FLV 10.1, E.4.2.1 and E.4.3.1; Enhanced RTMP v2, "Metadata Frame"."""
    assert header(Track(1, Codec.H264, 90_000, b"c", "x")) == b"\x17\x00\x00\x00\x00c"
    assert frame(Codec.H264, Sample(1, 0, 0, False, b"d"), 80) == b"\x27\x01\x00\x00\x50d"
    assert header(Track(2, Codec.AAC, 48_000, b"\x11\x90", "x")) == b"\xaf\x00\x11\x90"
    assert frame(Codec.AAC, Sample(2, 0, 0, True, b"d")) == b"\xaf\x01d"
    assert header(Track(2, Codec.OPUS, 48_000, b"c", "x")) == b"\x90OpusOpusHeadc"
    assert (codec_id(Codec.H264), codec_id(Codec.AAC), codec_id(Codec.HEVC)) == (7, 10, 0x68766331)
