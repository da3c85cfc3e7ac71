"""RTP as another implementation sends it: libavformat's muxer, whose packets are caught as it writes them."""

from __future__ import annotations

import io
import random
from fractions import Fraction
from functools import cache
from typing import Any

import av

from media.protocols.rtp import packet, rtcp
from media.protocols.rtp.packet import RtpPacket
from media.protocols.rtp.rtcp import SenderReport
from media.samples import VIDEO_TIMESCALE, Codec, Sample, Track
from tests.av1 import encode_av1

SIZE = (128, 96)
FIRST_SEQUENCE = 65530


class Caught:
    """A file that keeps each write apart: one write is one datagram."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.datagrams.append(bytes(data))
        return len(data)


class Stream:
    """frames: what the encoder made, in the format of files. packets: what libavformat makes of it."""

    def __init__(self, frames: list[bytes], keys: list[bool], datagrams: list[bytes]) -> None:
        self.frames = frames
        self.keys = keys
        self.packets: list[RtpPacket] = [packet.parse(one) for one in datagrams if not packet.is_rtcp(one)]
        self.reports: list[SenderReport] = [
            report
            for one in datagrams
            if packet.is_rtcp(one)
            for report in rtcp.parse(one)
            if isinstance(report, SenderReport)
        ]


def picture(i: int, noise: random.Random, size: tuple[int, int]) -> av.VideoFrame:
    frame = av.VideoFrame(*size, "yuv420p")
    frame.pts, frame.time_base = i, Fraction(1, 30)
    for plane in frame.planes:
        plane.update(noise.randbytes(plane.buffer_size))
    return frame


def _sound(i: int, noise: random.Random) -> av.AudioFrame:
    frame = av.AudioFrame("s16", "stereo", 960)
    frame.rate, frame.pts = 48_000, 960 * i
    frame.planes[0].update(noise.randbytes(frame.planes[0].buffer_size))
    return frame


@cache
def sent(encoder: str, count: int = 20, packet_size: int = 1200, **options: str) -> Stream:
    """`count` frames of noise through an encoder and libavformat's RTP muxer."""
    caught = Caught()
    noise = random.Random(1)
    muxing = {"packetsize": str(packet_size), "ssrc": "77", "seq": str(FIRST_SEQUENCE), "strict": "experimental"}
    frames, keys = [], []
    with av.open(caught, "w", format="rtp", options=muxing) as out:
        stream: Any
        if encoder == "libopus":
            stream = out.add_stream(encoder, rate=48_000)
            stream.layout = "stereo"
        else:
            stream = out.add_stream(encoder, rate=30)
            stream.width, stream.height = SIZE
            stream.pix_fmt, stream.options = "yuv420p", options
        pictures: list[Any] = [
            _sound(i, noise) if encoder == "libopus" else picture(i, noise, SIZE) for i in range(count)
        ]
        for frame in [*pictures, None]:
            for coded in stream.encode(frame):
                frames.append(bytes(coded))
                keys.append(coded.is_keyframe)
                out.mux(coded)
    return Stream(frames, keys, caught.datagrams)


@cache
def av1_sent(seconds: float = 0.6, gop: int = 6) -> Stream:
    caught = Caught()
    frames, keys = [], []
    with (
        av.open(io.BytesIO(encode_av1(*SIZE, Fraction(30), seconds, gop))) as file,
        av.open(caught, "w", format="rtp", options={"packetsize": "600", "strict": "experimental"}) as out,
    ):
        copy: Any = out.add_mux_stream("av1", rate=30, width=SIZE[0], height=SIZE[1])
        for coded in file.demux(video=0):
            if coded.size:
                frames.append(bytes(coded))
                keys.append(coded.is_keyframe)
                coded.stream = copy
                out.mux(coded)
    return Stream(frames, keys, caught.datagrams)


@cache
def h264_file(count: int = 24, **options: str) -> tuple[Track, tuple[Sample, ...]]:
    """A track and its samples, as RTMP brings them. options: of libx264, `x264` for x264-params."""
    file = io.BytesIO()
    noise = random.Random(1)
    with av.open(file, "w", format="mp4") as out:
        stream: Any = out.add_stream("libx264", rate=30)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {("x264-params" if name == "x264" else name): value for name, value in options.items()}
        for frame in [*(picture(i, noise, SIZE) for i in range(count)), None]:
            out.mux(stream.encode(frame))
    file.seek(0)
    with av.open(file) as container:
        video = container.streams.video[0]
        track = Track(1, Codec.H264, VIDEO_TIMESCALE, bytes(video.codec_context.extradata or b""), "", *SIZE)
        unit = VIDEO_TIMESCALE * (video.time_base or Fraction(1))
        samples = tuple(
            Sample(1, 90_000 + int(coded.dts * unit), 90_000 + int(coded.pts * unit), coded.is_keyframe, bytes(coded))
            for coded in container.demux(video)
            if coded.size and coded.dts is not None and coded.pts is not None
        )
    return track, samples


def annexb_units(data: bytes) -> list[bytes]:
    """NAL units between start codes."""
    found = []
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        following = data.find(b"\x00\x00\x01", at + 3)
        unit = data[at + 3 : following] if following >= 0 else data[at + 3 :]
        found.append(unit.rstrip(b"\x00") if following >= 0 else unit)
        at = following
    return found


def packets(payloads: list[bytes], sequence: int, timestamp: int, *, payload_type: int = 96) -> list[RtpPacket]:
    """A frame's payloads as packets from `sequence` on, the last with the marker."""
    return [
        RtpPacket(
            payload_type,
            (sequence + i) & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            77,
            payload,
            marker=i == len(payloads) - 1,
        )
        for i, payload in enumerate(payloads)
    ]
