"""What every depacketizer does alike: frames out of packets that come in order, and what a loss means for them.

A Depacketizer lives as long as its source (one SSRC) and holds one unfinished frame, at most `max_frame` bytes. A gap
in the sequence numbers damages the frame it falls into; from then on frames are left out until a whole key frame has
come, because whatever refers to the missing one would show garbage. While `wants_key` is true the sender should be
asked for one (PLI).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from media.protocols.errors import MediaError
from media.protocols.rtp.packet import RtpPacket
from media.samples import Track

MAX_FRAME = 8 * 1024 * 1024


class Frame(NamedTuple):
    """A whole frame. timestamp: RTP time, 32 bits. data: as `media.samples.Sample` holds it. track: the stream's
    description when this frame is the first of a new one, else None. duration: in ticks when the codec fixes it."""

    timestamp: int
    data: bytes
    key: bool
    track: Track | None = None
    duration: int = 0


class Depacketizer(ABC):
    def __init__(self, *, max_frame: int = MAX_FRAME) -> None:
        """max_frame: bytes; a longer frame counts as damaged."""
        self.wants_key = True
        self.damaged = 0
        """Frames that a loss or nonsense within broke."""
        self.skipped = 0
        """Whole frames left out because what they refer to is missing."""
        self.problem = ""
        """Why the last key frame was not taken: a sentence for the publisher. Empty when it was."""
        self._max_frame = max_frame
        self._body = bytearray()
        self._expected = -1
        self._timestamp = -1
        self._started = False
        self._broken = False
        self._after_loss = False

    def push(self, packet: RtpPacket) -> Sequence[Frame]:
        """The next packet in the order of sequence numbers; the frames that it completes."""
        sequence, payload = packet.sequence, packet.payload
        if sequence != self._expected and self._expected >= 0:
            self._gap()
        self._expected = (sequence + 1) & 0xFFFF
        if not payload:
            return ()
        frames: Sequence[Frame] = ()
        if packet.timestamp != self._timestamp:
            if self._started:
                frames = self._end()
            self._timestamp = packet.timestamp
        self._started = True
        if not self._broken:
            if len(self._body) + len(payload) > self._max_frame:
                self._broken = True
                self.problem = f"a frame is longer than {self._max_frame} bytes"
            elif not self._take(payload, packet.marker):
                self._broken = True
        if packet.marker:
            ended = self._end()
            frames = (*frames, *ended) if frames else ended
        return frames

    def _gap(self) -> None:
        self.wants_key = self._after_loss = True
        if self._started:
            self._broken = True

    def _end(self) -> Sequence[Frame]:
        self._started = False
        frame = None
        try:
            if not self._broken:
                frame = self._finish()
        except MediaError as error:
            self._broken = True
            self.problem = error.reason
        if self._broken:
            self._broken = False
            self.damaged += 1
            self.wants_key = True
        self._clear()
        return () if frame is None else (frame,)

    def _accept(self, *, key: bool) -> bool:
        """Whether a whole frame may go on; ends the wait for a key frame."""
        if key:
            self.wants_key = self._after_loss = False
            self.problem = ""
        elif self.wants_key:
            self.skipped += 1
            return False
        return True

    def _clear(self) -> None:
        """Ready for the next frame."""
        self._body = bytearray()

    @abstractmethod
    def _take(self, payload: bytes, marker: bool) -> bool:
        """Add a payload, never empty, to the frame; whether it fits there."""

    @abstractmethod
    def _finish(self) -> Frame | None:
        """The frame that has gathered, or None when there is nothing to show. Raises MediaError: it is damaged."""
