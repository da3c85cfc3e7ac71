"""Sound that tells where it is: silence with one tone in it, as AAC or Opus frames, and where the tone is in them."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from fractions import Fraction

import av

from media.protocols.aac import parse_asc
from media.samples import Codec, Sample, Track
from media.transcode.sound import config_of

LOUD = 0.2


def tone(codec: Codec, *, rate: int = 48_000, seconds: float = 2.0, at: float = 1.0) -> tuple[Track, list[Sample]]:
    """Stereo; a tone of 1 kHz from `at` on, for 0.1 s. Its times are right for a decoder that trims nothing."""
    encoder = av.CodecContext.create("aac" if codec is Codec.AAC else "libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.bit_rate = rate, "stereo", 128_000
    encoder.format = "fltp" if codec is Codec.AAC else "s16"
    encoder.time_base = Fraction(1, rate)
    encoder.open()
    length = 1024 if codec is Codec.AAC else 960
    samples: list[Sample] = []
    for start in range(0, int(seconds * rate), 1024):
        values = array.array("f")
        for time in (n / rate for n in range(start, start + 1024)):
            values.extend((0.8 * math.sin(2000 * math.pi * time) if at <= time < at + 0.1 else 0.0,) * 2)
        frame = av.AudioFrame("flt", "stereo", 1024)
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        frame.planes[0].update(values.tobytes())
        for packet in encoder.encode(frame):
            assert packet.pts is not None
            samples.append(Sample(2, packet.pts, packet.pts, True, bytes(packet), length))
    config = bytes(encoder.extradata or b"") if codec is Codec.AAC else config_of(Codec.OPUS, 2)
    name = parse_asc(config).codec_string if codec is Codec.AAC else "opus"
    return Track(2, codec, rate, config, name, sample_rate=rate, channels=2), samples


def tone_at(track: Track, samples: Sequence[Sample]) -> float | None:
    """Where the tone begins, s on the samples' clock; None when there is none. Decodes with PyAV."""
    decoder = av.CodecContext.create("aac" if track.codec is Codec.AAC else "libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.extradata = track.config if track.codec is Codec.AAC else b"OpusHead" + track.config
    plain = av.AudioResampler("flt", "mono")
    for sample in samples:
        for frame in decoder.decode(av.Packet(sample.data)):
            frame.pts = None
            for mono in plain.resample(frame):
                values = array.array("f", bytes(mono.planes[0])[: 4 * mono.samples])
                for number, value in enumerate(values):
                    if abs(value) > LOUD:
                        return sample.dts / track.timescale + number / mono.sample_rate
    return None
