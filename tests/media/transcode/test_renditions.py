"""What is offered beside what the publisher sends."""

from __future__ import annotations

from dataclasses import replace

from media.broadcast import Broadcast
from media.transcode.ladders import LadderOptions, Ladders
from media.transcode.renditions import Renditions
from media.transcode.sounds import Sounds
from tests.media.test_broadcast import AUDIO, VIDEO, Log
from tests.media.test_derived import OPUS


async def test_aac_is_offered_beside_opus_alone_and_by_setting() -> None:
    sounds = Sounds(1)
    maker = Renditions(sounds, Ladders(LadderOptions()), aac=True).of(Broadcast("b", Log()))
    [offer] = maker.offers((VIDEO, OPUS))
    assert (offer.letter, offer.codec, offer.rate, offer.channels) == ("a-aac", "mp4a.40.2", 128_000, 2)
    [offer] = maker.offers((replace(OPUS, channels=1),))
    assert (offer.rate, offer.channels) == (96_000, 1)
    assert not maker.offers((VIDEO, AUDIO))
    assert not maker.offers((VIDEO,))
    assert not Renditions(sounds, Ladders(LadderOptions()), aac=False).of(Broadcast("b", Log())).offers((VIDEO, OPUS))


async def test_what_cannot_be_made_just_now_is_said_so() -> None:
    sounds = Sounds(1, linger=0.0)
    try:
        one, other = Broadcast("b", Log()), Broadcast("c", Log())
        maker = Renditions(sounds, Ladders(LadderOptions()), aac=True)
        release = maker.of(one).want("aac")
        assert release is not None
        assert one.derived["aac"].listed
        assert maker.of(other).want("aac") is None
        assert not other.derived
        release()
        one.end("over")
        assert maker.of(one).want("aac") is None
    finally:
        await sounds.close()
