"""In a child: a source's container, opened without letting it name any other file, protocol or decoder."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from media.vod.errors import BadSource
from media.vod.options import Limits

if TYPE_CHECKING:
    from av import Packet
    from av.container import InputContainer
    from av.stream import Stream

FORMATS = {"mp4": "mov", "matroska": "matroska", "avi": "avi", "mpegts": "mpegts"}
"""Our name to libavformat's demuxer, which is forced: nothing else ever looks at the file."""
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"moof")
STILL = (b"heic", b"heix", b"hevc", b"avif", b"avis", b"mif1", b"msf1", b"crx ")
"""Brands of pictures in the same boxes."""
DECODERS = (
    "h264", "hevc", "libdav1d", "av1", "vp8", "libvpx", "vp9", "libvpx-vp9", "mpeg4", "msmpeg4v2", "msmpeg4",
    "mpeg2video", "mpeg1video", "h263", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo",
    "dvvideo",
    "theora", "wmv1", "wmv2", "wmv3", "vc1", "cinepak", "svq3", "qtrle",
    "aac", "aac_latm", "mp1float", "mp2float", "mp3float", "mp1", "mp2", "mp3", "ac3", "eac3", "dca", "opus", "libopus",
    "vorbis", "flac", "alac", "wmav1", "wmav2", "truehd", "amrnb", "amrwb", "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_u8", "pcm_s8", "pcm_f32le",
    "pcm_f32be", "pcm_f64le", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd",
)  # fmt: skip
HEAD = 4096
READ = 1 << 18
BROKEN_READS = 200
"""So many places that cannot be read before the rest is given up."""


def load() -> None:
    """All of PyAV, which imports the rest of itself when it first meets a track: too late in a sealed child."""
    for name in ("audio.stream", "filter.graph", "sidedata.sidedata", "subtitles.stream", "video.stream"):
        importlib.import_module(f"av.{name}")


def sniff(head: bytes) -> str:
    """The format by content, one of FORMATS. Raises BadSource(not_a_video)."""
    if head[4:8] in BOXES and not (head[4:8] == b"ftyp" and head[8:12] in STILL):
        return "mp4"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "avi"
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        marks = head[offset::packet]
        if len(marks) > 4 and marks.count(b"\x47") == len(marks):
            return "mpegts"
    raise BadSource("not_a_video", "This file is not a video that is taken here: MP4, MOV, MKV, WebM, AVI or MPEG-TS.")


def open_source(file: BinaryIO, limits: Limits) -> tuple[str, InputContainer]:
    """The format's name and the container. Raises BadSource."""
    import av  # noqa: PLC0415  the parent must not load it

    av.logging.set_level(av.logging.PANIC)
    file.seek(0)
    name = sniff(file.read(HEAD))
    file.seek(0)
    options = {
        # no protocol has this name: whatever the file asks to open is refused, before the operating system refuses it
        "protocol_whitelist": "none",
        "codec_whitelist": ",".join(DECODERS),
        "max_pixels": str(limits.most_pixels),
    }
    if name == "mp4":
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    try:
        return name, av.open(file, "r", format=FORMATS[name], options=options, buffer_size=READ)
    except av.FFmpegError as error:
        raise BadSource(
            "damaged",
            "The file is damaged or incomplete: its index cannot be read. Export it anew and upload it again.",
        ) from error


def packets(container: InputContainer, streams: list[Stream], lost: list[int]) -> Iterator[Packet[Any]]:
    """All that can be read of these streams, in the file's order. lost[0] counts the places that cannot be read."""
    import av  # noqa: PLC0415

    while lost[0] < BROKEN_READS:
        try:
            for packet in container.demux(streams):
                if packet.size:
                    yield packet
            return
        except av.error.EOFError:
            return
        except av.FFmpegError:
            lost[0] += 1
    return
