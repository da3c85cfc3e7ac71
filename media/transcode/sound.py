"""Sound in another codec: `python -m media.transcode.sound` decodes AAC or Opus and encodes the other.

The child reads messages (Begin, then Batches) and answers each Batch at once with what it makes of it. Times are exact:
what an encoder adds in front of its first frame (its priming) is taken off the time stamps, so that sound is heard when
it was; a decoder that trims nothing is then right. In MP4 and Opus terms: no edit list, a pre-skip of zero.

Sound that is missing (a lost frame, a dropped batch) becomes silence of that length. A hole longer than SILENCE_SECONDS
ends what the encoder had, and it begins again behind the hole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from media.samples import Codec
from media.transcode.inside import LENGTH, frames, limit_child, seal_child

if TYPE_CHECKING:
    from av import AudioCodecContext, AudioFrame

RATE = 48_000
"""Hz of all that is made; also the timescale of its track."""
OPUS_FRAME, AAC_FRAME = 960, 1024
BIT_RATES = {Codec.OPUS: (64_000, 96_000), Codec.AAC: (96_000, 128_000)}
"""Mono and stereo."""
SILENCE_SECONDS = 0.5
DRIFT = 0.75
"""Share of a frame by which a time stamp may be off before sound is missing: less is the sender's clock."""
MESSAGE_LIMIT = 8 << 20
NICENESS = 2
"""Sound comes before pictures: a few per mille of a core, and a gap in it is heard."""
DECODERS = {Codec.AAC: "aac", Codec.OPUS: "libopus"}


class Begin(msgspec.Struct, array_like=True, tag="b"):
    """A source: its number, codec, configuration, timescale, sample rate and channels, and the codec to make."""

    number: int
    codec: str
    config: bytes
    timescale: int
    rate: int
    channels: int
    wanted: str


class Batch(msgspec.Struct, array_like=True, tag="s"):
    """Frames of it: decode time in ticks of the source, and the frame."""

    number: int
    frames: list[tuple[int, bytes]]


class Made(msgspec.Struct, array_like=True):
    """number: of the source that it was made from; channels of the sound; frames: decode time in ticks of RATE."""

    number: int
    channels: int
    frames: list[tuple[int, bytes]]


class Frame(NamedTuple):
    time: int
    data: bytes


def config_of(codec: Codec, channels: int) -> bytes:
    """The decoder configuration of what is made: AudioSpecificConfig of AAC-LC at RATE, or an OpusHead."""
    if codec is Codec.AAC:
        return (2 << 11 | 3 << 7 | channels << 3).to_bytes(2, "big")
    return bytes((1, channels, 0, 0)) + RATE.to_bytes(4, "little") + bytes(3)


class Converter:
    """In the child: one source's sound, frame by frame. Raises av.FFmpegError for a source that cannot be decoded."""

    def __init__(self, begin: Begin) -> None:
        import av  # noqa: PLC0415  the parent must not load it

        self._wanted = Codec(begin.wanted)
        self._scale = begin.timescale
        self.channels = 0
        decoder = av.CodecContext.create(DECODERS[Codec(begin.codec)], "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.thread_count = 1
        if begin.codec == Codec.OPUS:
            head = begin.config or config_of(Codec.OPUS, begin.channels or 2)
            # nothing is trimmed at the start: the time stamps count from the first sample that comes out
            decoder.extradata = b"OpusHead" + head[:2] + bytes(2) + head[4:]
        else:
            decoder.extradata = begin.config
        self._decoder = decoder
        self._encoder: AudioCodecContext | None = None
        self._like = ("", "", 0)  # format, layout and rate that the encoder was made for
        self._index = 0  # samples that the encoder was given, at the source's rate
        self._zero = 0.0  # the time of the first of them, in ticks of RATE
        self._last = -(1 << 62)

    def convert(self, batch: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        import av  # noqa: PLC0415

        made: list[tuple[int, bytes]] = []
        for time, data in batch:
            try:
                decoded = self._decoder.decode(av.Packet(data))
            except av.FFmpegError:
                continue  # damaged: silence will stand for it
            at = time * RATE / self._scale
            for frame in decoded:
                made += self._take(frame, at)
                at += frame.samples * RATE / frame.sample_rate
        return made

    def _take(self, frame: AudioFrame, at: float) -> Iterator[tuple[int, bytes]]:
        like = (frame.format.name, frame.layout.name, frame.sample_rate)
        rate = frame.sample_rate
        length = frame.samples * RATE / rate
        if self._encoder is not None:
            missing = at - self._zero - self._index * RATE / rate
            if like != self._like or missing > SILENCE_SECONDS * RATE or missing < -SILENCE_SECONDS * RATE:
                yield from self._end()
            elif missing >= DRIFT * length:
                yield from self._silence(frame, round(missing * rate / RATE))
            elif abs(missing) >= length / 2:
                self._zero += missing  # the clock drifted
        if self._encoder is None:
            self._encoder = self._open(frame)
            self._like, self._index, self._zero = like, 0, at
        yield from self._give(frame)

    def _give(self, frame: AudioFrame) -> Iterator[tuple[int, bytes]]:
        assert self._encoder is not None
        frame.pts = self._index
        frame.time_base = Fraction(1, frame.sample_rate)
        self._index += frame.samples
        for packet in self._encoder.encode(frame):
            yield self._made(packet.pts or 0, bytes(packet))

    def _made(self, pts: int, data: bytes) -> tuple[int, bytes]:
        """The encoder's time stamps are its priming early, so that what is decoded stands where it stood."""
        self._last = max(round(self._zero) + pts, self._last + 1)
        return self._last, data

    def _silence(self, frame: AudioFrame, count: int) -> Iterator[tuple[int, bytes]]:
        import av  # noqa: PLC0415

        while count > 0:
            silent = av.AudioFrame(frame.format.name, frame.layout.name, min(count, frame.samples))
            silent.sample_rate = frame.sample_rate
            for plane in silent.planes:
                plane.update(bytes(plane.buffer_size))
            count -= silent.samples
            yield from self._give(silent)

    def _end(self) -> Iterator[tuple[int, bytes]]:
        encoder, self._encoder = self._encoder, None
        assert encoder is not None
        for packet in encoder.encode(None):
            yield self._made(packet.pts or 0, bytes(packet))

    def _open(self, frame: AudioFrame) -> AudioCodecContext:
        import av  # noqa: PLC0415

        self.channels = 1 if len(frame.layout.channels) == 1 else 2
        opus = self._wanted is Codec.OPUS
        encoder = av.CodecContext.create("libopus" if opus else "aac", "w")
        assert isinstance(encoder, av.AudioCodecContext)
        encoder.sample_rate = RATE
        encoder.layout = "mono" if self.channels == 1 else "stereo"
        encoder.format = "s16" if opus else "fltp"
        encoder.time_base = Fraction(1, RATE)
        encoder.bit_rate = BIT_RATES[self._wanted][self.channels - 1]
        encoder.thread_count = 1
        encoder.options = {"frame_duration": "20", "application": "audio"} if opus else {"aac_coder": "fast"}
        encoder.open()
        return encoder


def warm() -> None:
    """In the child: load what decoding and encoding need while it may still open files."""
    for source, wanted in ((Codec.OPUS, Codec.AAC), (Codec.AAC, Codec.OPUS)):
        Converter(Begin(0, source.value, config_of(source, 2), RATE, RATE, 2, wanted.value))


def main() -> None:
    limit_child(NICENESS)
    warm()
    seal_child()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    decode = msgspec.msgpack.Decoder(Begin | Batch).decode
    encode = msgspec.msgpack.Encoder().encode
    converter: Converter | None = None
    number = -1
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        (length,) = LENGTH.unpack(head)
        if length > MESSAGE_LIMIT:
            return
        message = decode(requests.read(length))
        if isinstance(message, Begin):
            converter, number = Converter(message), message.number
            continue
        if converter is None or message.number != number:
            continue
        made = converter.convert(message.frames)
        if made:
            answers.write(frames([encode(Made(number, converter.channels, made))]))
            answers.flush()


if __name__ == "__main__":
    main()
