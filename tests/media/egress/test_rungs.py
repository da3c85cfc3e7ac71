"""A viewer whose network carries less than the source: a rung is made for him, and no longer than he needs it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from media.egress.layers import Picture
from media.egress.programme import Programmes
from media.egress.whep import Viewer
from media.protocols.rtp import rtcp
from media.protocols.rtp.twcc import ArrivalLog
from media.transcode import ladders as module
from media.transcode.ladders import LadderOptions, Ladders
from media.vod.options import Rung
from tests.media.egress.conftest import VIDEO_SSRC, Stage, h264, picture
from tests.media.egress.test_viewer import transport_number
from tests.media.transcode.test_ladder import Slow
from tests.support import eventually


@pytest.fixture
def ladders(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Ladders:
    monkeypatch.setattr(module, "StreamChild", Slow)
    made = Ladders(LadderOptions(rungs=(Rung("90p", 90, 300_000),), linger=0.0))
    stage.programmes = Programmes(ladders=made)
    return made


class Thin:
    """The network of a viewer that loses half of what comes; frames go on through it."""

    def __init__(self, stage: Stage, viewer: Viewer) -> None:
        self.stage, self.viewer = stage, viewer
        self.next, self.highest = 0, 0
        self.loses = True

    def goes_on(self) -> None:
        at = self.next
        self.next += 1
        self.stage.session.samples([picture(at, key=at % 30 == 0, size=6000)])
        if self.loses and at % 3 == 0:
            self.highest += 100
            block = rtcp.ReportBlock(VIDEO_SSRC, 160, 50, self.highest, 0, 0, 0)
            self.viewer.on_rtcp(rtcp.compound([rtcp.ReceiverReport(5, (block,))]))


async def test_a_rung_is_made_for_a_thin_line_and_left_with_it(stage: Stage, ladders: Ladders) -> None:
    viewer, far = stage.viewer()
    thin = Thin(stage, viewer)
    ladder = ladders.of(stage.broadcast)
    thin.goes_on()
    assert not ladder.running

    def wanted() -> bool:
        thin.goes_on()
        return ladder.running

    await eventually(wanted)
    child = ladder._child
    assert isinstance(child, Slow)
    assert viewer.feed is not None
    assert viewer.feed.name == "source"  # until the rung has a key frame
    child.config = h264().config

    def there() -> bool:
        thin.goes_on()
        child.done(len(child.frames))
        return viewer.feed is not None and viewer.feed.name == "90p"

    await eventually(there)
    before = len(far.of(VIDEO_SSRC))
    await eventually(lambda: there() and len(far.of(VIDEO_SSRC)) > before)
    thin.loses = False
    viewer.close("left")
    await eventually(lambda: not ladder.running)
    assert not stage.broadcast.derived


async def test_nothing_is_encoded_for_who_has_fallen_silent(stage: Stage, ladders: Ladders) -> None:
    viewer, far = stage.viewer()
    ladder, log, number = ladders.of(stage.broadcast), ArrivalLog(sender=5), 0

    def goes_on() -> None:
        nonlocal number
        stage.frames(number, 1, size=6000)
        number += 1

    goes_on()
    for packet in far.packets:
        log.arrived(transport_number(packet), time.monotonic())
    viewer.on_rtcp(log.feedback()[0].build())

    def left_alone() -> bool:
        goes_on()
        return viewer.silent and viewer.chooser is not None and viewer.chooser.choice.picture is not Picture.FULL

    await eventually(left_alone)
    assert not ladder.running
    assert viewer.feed is not None
    assert viewer.feed.name == "source"
    for packet in far.packets[-1:]:
        log.arrived(transport_number(packet), time.monotonic())
    viewer.on_rtcp(log.feedback()[0].build())
    assert not viewer.silent


async def test_a_viewer_stays_where_he_is_when_no_rung_can_be_made(stage: Stage, ladders: Ladders) -> None:
    ladders.options = replace(ladders.options, most=0)
    viewer, _ = stage.viewer()
    thin = Thin(stage, viewer)
    deadline = time.monotonic() + 1.5

    def over() -> bool:
        thin.goes_on()
        return time.monotonic() > deadline

    await eventually(over)
    assert viewer.congested(time.monotonic())
    assert viewer.feed is not None
    assert viewer.feed.name == "source"
    viewer.close("left")


async def test_a_rung_that_goes_leaves_its_viewers_on_the_source(stage: Stage, ladders: Ladders) -> None:
    viewer, _ = stage.viewer()
    thin = Thin(stage, viewer)
    ladder = ladders.of(stage.broadcast)

    def there() -> bool:
        thin.goes_on()
        child = ladder._child
        if isinstance(child, Slow):
            child.config = h264().config
            child.done(len(child.frames))
        return viewer.feed is not None and viewer.feed.name == "90p"

    await eventually(there)
    thin.loses = False
    ladder.drop("90p")
    assert viewer.next_feed is not None

    def back() -> bool:
        thin.goes_on()
        return viewer.feed is not None and viewer.feed.name == "source"

    await eventually(back)
    viewer.close("left")
