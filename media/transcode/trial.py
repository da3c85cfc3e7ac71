"""`python -m media.transcode.trial`: encodes some pictures with an encoder in hardware and decodes them again.

It takes nothing from outside, so it is limited but not sealed: drivers open devices whenever they like. What it says of
a fault is for operators.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import msgspec

from media.samples import VIDEO_TIMESCALE
from media.transcode.encoders import Asked, Tried, encoder_of, pixels_of, told
from media.transcode.inside import LENGTH, limit_child

WIDTH, HEIGHT, PICTURES, KEY = 640, 360, 12, 5
"""Above the least size of all of them; the key frame that is asked for is in the middle."""
DECODERS = {"h264": "h264", "hevc": "hevc", "av1": "libdav1d"}
PEAK = 2_000_000


def trial(codec: str, family: str) -> Tried:
    import av  # noqa: PLC0415  the parent must not load it

    name = encoder_of(family, codec)
    if name not in av.codecs_available:
        return Tried(family, f"{name} is not in this build of libavcodec")
    try:
        return Tried(family, _fault(codec, family))
    except (av.FFmpegError, ValueError, RuntimeError, OSError) as error:
        return Tried(family, f"{name} cannot be used: {error}")


def _fault(codec: str, family: str) -> str:
    import av  # noqa: PLC0415
    from av.video.frame import PictureType  # noqa: PLC0415

    encoder = av.CodecContext.create(encoder_of(family, codec), "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, pixels_of(family)
    encoder.time_base, encoder.framerate = Fraction(1, VIDEO_TIMESCALE), Fraction(25)
    encoder.options = told(family, preset="veryfast", quality=23, peak=PEAK, buffer=2 * PEAK)
    encoder.open()
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    packets = []
    for number in range(PICTURES):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p").reformat(format=pixels_of(family))
        frame.pts, frame.time_base = number * VIDEO_TIMESCALE // 25, Fraction(1, VIDEO_TIMESCALE)
        frame.pict_type = PictureType.I if number == KEY else PictureType.NONE
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    if keys != [0, KEY]:
        return f"it made key frames at {keys}, and was asked for {[0, KEY]}"
    shown = sum(len(decoder.decode(packet)) for packet in packets) + len(decoder.decode(None))
    return "" if shown == PICTURES else f"of {PICTURES} pictures {shown} could be decoded"


def main() -> None:
    limit_child(niceness=0, devices=True)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        asked = msgspec.msgpack.decode(requests.read(LENGTH.unpack(head)[0]), type=Asked)
        answer = msgspec.msgpack.encode([trial(asked.codec, family) for family in asked.families])
        answers.write(LENGTH.pack(len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    main()
