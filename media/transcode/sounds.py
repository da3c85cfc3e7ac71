"""A broadcast's sound in another codec, while somebody wants it: one child process for all who want the same.

`Sounds` is made once a process. The first lease on a codec of a broadcast starts its Conversion (a reader of the
broadcast, a child process, a derived rendition named after the codec); some seconds after the last lease is released
it ends. A child that dies is replaced; the sound that it did not make is missing, and nothing else notices.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from media.broadcast import Broadcast, Derived
from media.samples import Codec, Kind, Sample, Track
from media.transcode.sound import AAC_FRAME, OPUS_FRAME, RATE, Batch, Begin, Made, config_of
from media.transcode.stream_child import StreamChild

log = logging.getLogger(__name__)

MODULE = "media.transcode.sound"
LINGER_SECONDS = 10.0
"""How long it goes on after the last lease: somebody who comes back, or changes places, finds it running."""
MADE = (Codec.OPUS, Codec.AAC)
FRAMES = {Codec.OPUS: OPUS_FRAME, Codec.AAC: AAC_FRAME}
CODEC_STRINGS = {Codec.OPUS: "opus", Codec.AAC: "mp4a.40.2"}


class SoundsBusy(Exception):
    """As many sounds are converted already as this process may; the caller goes without."""


class SoundLease:
    """Somebody's wish for the sound; it is made until all of them are released.

    derived: the rendition, whose track comes with its first frame. It has none while the publisher itself sends the
    codec that was asked for (its own sound is the one to take then), or no sound.
    """

    def __init__(self, conversion: Conversion) -> None:
        self._conversion: Conversion | None = conversion
        self.derived: Derived = conversion.derived

    def release(self) -> None:
        """Safe to call twice, and after the broadcast has ended."""
        conversion, self._conversion = self._conversion, None
        if conversion is not None:
            conversion.release(self)


class Sounds:
    """All conversions of this process."""

    def __init__(self, most: int, *, linger: float = LINGER_SECONDS) -> None:
        """most: conversions, and so child processes, at once; 0 for none. linger: s from the last lease to the end."""
        self._most = most
        self._linger = linger
        self._conversions: dict[tuple[str, Codec], Conversion] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def want(self, broadcast: Broadcast, codec: Codec, *, listed: bool = False) -> SoundLease:
        """Have the sound of this broadcast made in this codec (MADE). listed: it belongs into the playlists.

        Raises SoundsBusy, and RuntimeError when the broadcast has ended."""
        key = (broadcast.id, codec)
        conversion = self._conversions.get(key)
        if conversion is None or conversion.over:
            if len(self._conversions) >= self._most:
                raise SoundsBusy
            conversion = self._conversions[key] = Conversion(self, broadcast, codec, self._linger)
            conversion.start()
        return conversion.lease(listed)

    async def close(self) -> None:
        for conversion in list(self._conversions.values()):
            conversion.end()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        return {
            "most": self._most,
            "running": [conversion.describe() for conversion in self._conversions.values()],
            "ending": len(self._ending),
        }

    def ended(self, conversion: Conversion) -> None:
        """Called by a conversion that stops: its child is seen off here."""
        key = (conversion.broadcast.id, conversion.codec)
        if self._conversions.get(key) is conversion:
            del self._conversions[key]
        task = asyncio.get_running_loop().create_task(conversion.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class Conversion:
    """One broadcast's sound in one codec: reads the broadcast, feeds the child, hands on what it makes."""

    def __init__(self, sounds: Sounds, broadcast: Broadcast, codec: Codec, linger: float) -> None:
        self.broadcast = broadcast
        self.codec = codec
        self.over = False
        self.derived: Derived = broadcast.derive(codec.value)
        self._sounds = sounds
        self._linger = linger
        self._child = StreamChild(MODULE, self)
        self._leases: set[SoundLease] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._source: Track | None = None
        self._number = 0
        self._ready = False
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Made).decode

    def start(self) -> None:
        self._child.start()
        self.broadcast.add(self)

    def end(self) -> None:
        """Nobody wants it any more, or the broadcast has ended."""
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self.broadcast.remove(self)
        self.derived.close()
        self._sounds.ended(self)

    async def close(self) -> None:
        await self._child.close()

    def describe(self) -> dict[str, object]:
        return {
            "broadcast": self.broadcast.id,
            "codec": self.codec.value,
            "leases": len(self._leases),
            "child": self._child.describe(),
        }

    # leases

    def lease(self, listed: bool) -> SoundLease:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if listed:
            self.derived.enlist()
        lease = SoundLease(self)
        self._leases.add(lease)
        return lease

    def release(self, lease: SoundLease) -> None:
        self._leases.discard(lease)
        if not self._leases and not self.over and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._linger, self.end)

    # Reader of the broadcast

    def on_tracks(self, tracks: tuple[Track, ...]) -> None:
        sound = next((track for track in tracks if track.kind is Kind.AUDIO), None)
        self._source = sound if sound is not None and sound.codec in MADE and sound.codec is not self.codec else None
        self._number += 1
        self._begin()

    def on_change(self, tracks: tuple[Track, ...]) -> None:
        pass  # of the picture alone

    def on_samples(self, batch: Sequence[Sample]) -> None:
        source = self._source
        if source is None or not self._ready:
            return
        frames = [(sample.dts, bytes(sample.data)) for sample in batch if sample.track == source.id]
        if frames:
            self._child.send(self._encode(Batch(self._number, frames)))

    def on_interrupted(self) -> None:
        self._source = None
        self._number += 1

    def on_end(self) -> None:
        self.end()

    # Owner of the child

    def on_child(self) -> None:
        self._ready = True
        self._begin()

    def on_child_gone(self) -> None:
        self._ready = False

    def on_message(self, message: bytes) -> None:
        made = self._decode(message)
        if made.number != self._number or self.over:
            return  # of a timeline that is over
        channels = 1 if made.channels == 1 else 2
        track = Track(
            2, self.codec, RATE, config_of(self.codec, channels), CODEC_STRINGS[self.codec],
            sample_rate=RATE, channels=channels,
        )  # fmt: skip
        if self.derived.track(track):
            duration = FRAMES[self.codec]
            self.derived.samples([Sample(2, time, time, True, data, duration) for time, data in made.frames])

    def _begin(self) -> None:
        source = self._source
        if source is None or not self._ready:
            return
        begin = Begin(
            self._number, source.codec.value, source.config, source.timescale, source.sample_rate,
            source.channels, self.codec.value,
        )  # fmt: skip
        self._child.send(self._encode(begin))
