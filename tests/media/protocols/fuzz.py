"""The target of `bin/fuzz`: any bytes, in any fragments, give events or a ProtocolError, and bounded memory.

The first byte of an input says what it is for: a conversation over RTMP, with media going through to samples, or one
codec header.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

import atheris

with atheris.instrument_imports(include=["media"]):
    from media.ingest.intake import Intake
    from media.protocols import aac, amf, av1, h26x, opus, vp9
    from media.protocols.errors import ProtocolError
    from media.protocols.rtmp.chunks import Message
    from media.protocols.rtmp.connection import Metadata, PublishRequested, RtmpConnection

from media.samples import Sample, Track
from tests.media.protocols.wire import C0C1, C2, publish

LIMIT = 1 << 20
READERS = (
    h26x.parse_avcc,
    h26x.parse_hvcc,
    av1.parse_av1c,
    vp9.parse_vpcc,
    vp9.key_frame_size,
    aac.parse_asc,
    opus.parse_head,
    amf.decode,
    amf.decode_envelope,
)


class Rising:
    """A publisher that holds the promise of ingest: decode times rise strictly within a configuration."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}

    def track(self, track: Track) -> None:
        assert track.timescale > 0
        if track.id == 2:
            self.last.pop(2, None)

    def samples(self, batch: Sequence[Sample]) -> None:
        for sample in batch:
            assert sample.dts > self.last.get(sample.track, -1)
            assert sample.pts >= 0
            assert sample.data
            self.last[sample.track] = sample.dts

    def restart(self) -> None:
        pass

    def close(self, reason: str, *, clean: bool) -> None:
        pass


def converse(data: bytes, step: int, greeting: bytes) -> None:
    connection = RtmpConnection(max_message=LIMIT, max_buffered=LIMIT)
    intake = Intake(Rising())
    pieces = [greeting, *(data[at : at + step] for at in range(0, len(data), step))]
    for piece in pieces:
        rest = piece
        while True:
            for event in connection.receive(rest):
                if isinstance(event, PublishRequested):
                    connection.accept()
                elif isinstance(event, Metadata):
                    intake.metadata(event.values)
                elif isinstance(event, Message):
                    (intake.video if event.type == 9 else intake.audio)(event.timestamp, event.payload)
            assert connection.buffered <= LIMIT
            connection.take_output()
            if not connection.backlog:
                break
            rest = b""
        intake.flush()


def one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    kind, body = data[0], data[1:]
    with contextlib.suppress(ProtocolError):
        if kind < 64:
            READERS[kind % len(READERS)](body)
        else:
            greetings = (b"", C0C1 + C2, C0C1 + C2 + publish())
            converse(body[1:], body[0] * 4 + 1, greetings[kind % 3])


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
