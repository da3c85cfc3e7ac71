"""A small JPEG of a key frame. `Thumbnailer` asks; `python -m media.transcode.thumbnail` is the child that decodes.

A request is a msgspec-encoded Picture; the answer is the JPEG, or nothing when the frame cannot be decoded.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import msgspec

from media.samples import Codec, Sample, Track
from media.transcode.child import Child
from media.transcode.inside import LENGTH, limit_child

WIDTH = 480
MAX_SIDE = 8192
QUALITY = 5
REQUEST_LIMIT = 32 * 1024 * 1024

DECODERS = {Codec.H264: "h264", Codec.HEVC: "hevc", Codec.AV1: "libdav1d", Codec.VP9: "vp9"}


class Picture(msgspec.Struct, array_like=True):
    codec: str
    config: bytes
    data: bytes


class Thumbnailer:
    """One child process for all broadcasts of this process."""

    def __init__(self) -> None:
        self._child = Child("media.transcode.thumbnail")

    async def jpeg(self, track: Track, sample: Sample) -> bytes:
        """Raises ChildFailed."""
        return await self._child.ask(
            msgspec.msgpack.encode(Picture(track.codec.value, track.config, bytes(sample.data)))
        )

    async def close(self) -> None:
        await self._child.close()

    def describe(self) -> dict[str, object]:
        return self._child.describe()


def make(picture: Picture) -> bytes:
    """In the child: decode one key frame and scale it to WIDTH pixels. Raises av.FFmpegError, ValueError."""
    import av  # noqa: PLC0415  the parent must not load it

    decoder = av.CodecContext.create(DECODERS[Codec(picture.codec)], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    if picture.config:
        decoder.extradata = picture.config
    decoder.thread_count = 1
    frames = decoder.decode(av.Packet(picture.data)) or decoder.decode(None)
    if not frames:
        raise ValueError("no frame")
    frame = frames[0]
    if not 0 < frame.width <= MAX_SIDE or not 0 < frame.height <= MAX_SIDE:
        raise ValueError("the picture is too large")
    width = min(WIDTH, frame.width) & ~1
    height = max(2, round(frame.height * width / frame.width) & ~1)
    small = frame.reformat(width=width, height=height, format="yuvj420p")
    small.pts = 0
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.qmin = encoder.qmax = QUALITY
    return b"".join(bytes(packet) for packet in [*encoder.encode(small), *encoder.encode(None)])


def main() -> None:
    limit_child()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    decode = msgspec.msgpack.Decoder(Picture).decode
    while head := requests.read(LENGTH.size):
        (length,) = LENGTH.unpack(head)
        if length > REQUEST_LIMIT:
            return
        try:
            jpeg = make(decode(requests.read(length)))
        except Exception:  # whatever a decoder makes of hostile bytes: this picture is lost, the child goes on
            jpeg = b""
        answers.write(LENGTH.pack(len(jpeg)) + jpeg)
        answers.flush()


if __name__ == "__main__":
    main()
