"""What can be made of a broadcast beside what its publisher sends, while somebody asks for it.

AAC for a publisher that sends Opus (a browser): for players that cannot play Opus. It is made from the first request of
its own playlist on, not from that of the multivariant playlist: every player asks for the latter, and those that can
play Opus (nearly all of them) should cost nothing. The same for rungs of the ladder: smaller pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from media.broadcast import Broadcast
from media.package.followers import Offer
from media.samples import Codec, Kind, Track
from media.transcode.ladders import Ladder, LadderBusy, Ladders
from media.transcode.rungs import level_of
from media.transcode.sound import BIT_RATES
from media.transcode.sounds import CODEC_STRINGS, Sounds, SoundsBusy


class Renditions:
    """Made once a process; gives every broadcast its Maker."""

    def __init__(self, sounds: Sounds, ladders: Ladders, *, aac: bool) -> None:
        self._sounds = sounds
        self._ladders = ladders
        self._aac = aac

    def of(self, broadcast: Broadcast) -> BroadcastRenditions:
        return BroadcastRenditions(broadcast, self._sounds, self._ladders.of(broadcast), aac=self._aac)


class BroadcastRenditions:
    """The Maker of one broadcast."""

    def __init__(self, broadcast: Broadcast, sounds: Sounds, ladder: Ladder, *, aac: bool) -> None:
        self._broadcast = broadcast
        self._sounds = sounds
        self._ladder = ladder
        self._aac = aac

    def offers(self, tracks: tuple[Track, ...]) -> Sequence[Offer]:
        return [*self._pictures(tracks), *self._sound(tracks)]

    def want(self, name: str) -> Callable[[], None] | None:
        try:
            if name == Codec.AAC.value:
                return self._sounds.want(self._broadcast, Codec.AAC, listed=True).release
            return self._ladder.want(name).release
        except (SoundsBusy, LadderBusy, RuntimeError):
            return None

    def _sound(self, tracks: tuple[Track, ...]) -> Sequence[Offer]:
        sound = next((track for track in tracks if track.codec is Codec.OPUS), None)
        if sound is None or not self._aac:
            return ()
        channels = 1 if sound.channels == 1 else 2
        rate = BIT_RATES[Codec.AAC][channels - 1]
        return (Offer(Codec.AAC.value, Kind.AUDIO, CODEC_STRINGS[Codec.AAC], rate, channels=channels),)

    def _pictures(self, tracks: tuple[Track, ...]) -> Sequence[Offer]:
        rate = next((track.frame_rate for track in tracks if track.kind is Kind.VIDEO), 0.0)
        found = []
        for step in self._ladder.offers():
            codec = f"avc1.6400{level_of(step.width, step.height, rate):02x}"
            found.append(Offer(step.name, Kind.VIDEO, codec, step.rate, step.width, step.height, rate))
        return found
