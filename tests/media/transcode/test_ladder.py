"""A live ladder: smaller pictures on the source's clock, while somebody wants them and the machine keeps up."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import av
import msgspec
import pytest

from media.broadcast import Broadcast, PublisherSession
from media.package.answer import Answer
from media.package.live import LivePackage, PackageOptions
from media.samples import Codec, Sample, Track
from media.transcode import ladders as module
from media.transcode.ladder import Batch, Begin, Made, Refused, Rungs
from media.transcode.ladders import NOTE, Ladder, LadderBusy, LadderOptions, Ladders
from media.transcode.renditions import Renditions
from media.transcode.rungs import expected, level_of, parse_ladder, steps_of
from media.transcode.sounds import Sounds
from media.vod.options import LADDER, Rung
from tests.media.package.conftest import Clock, Encoded, MemoryShelf, encode
from tests.media.test_broadcast import AUDIO, VIDEO, Log, frame, request
from tests.media.transcode.test_sounds import Take
from tests.support import eventually

HIGH, LOW = Rung("120p", 120, 200_000), Rung("90p", 90, 100_000)
UNIT = bytes((0, 0, 0, 6, 0x65, 0x88, 1, 2, 3, 4))
"""A slice of H.264, as far as its first bytes go."""
OPTIONS = LadderOptions(rungs=(HIGH, LOW), linger=0.0)


def keep(broadcast: Broadcast, name: str) -> Take:
    take = Take()
    broadcast.derived[name].add(take)
    return take


def publish(broadcast: Broadcast, track: Track) -> PublisherSession:
    session = broadcast.open(request())
    session.track(track)
    session.track(AUDIO)
    return session


async def feed(session: PublisherSession, samples: Sequence[Sample]) -> None:
    for number, sample in enumerate(samples):
        session.samples([sample])
        if number % 10 == 0:
            await asyncio.sleep(0)


def pictures(track: Track, samples: Sequence[Sample]) -> list[tuple[int, int, int]]:
    """pts, width and height of what a decoder makes of it; raises for what is damaged."""
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.extradata = track.config
    found = []
    for sample in [*samples, None]:
        packet = None
        if sample is not None:
            packet = av.Packet(sample.data)
            packet.pts, packet.dts = sample.pts, sample.dts
        found += [(f.pts or 0, f.width, f.height) for f in decoder.decode(packet)]
    return found


def later(samples: Sequence[Sample], ticks: int) -> list[Sample]:
    return [s._replace(dts=s.dts + ticks, pts=s.pts + ticks) for s in samples]


async def ready(ladder: Ladder) -> None:
    await eventually(lambda: ladder._ready, within=60)


@pytest.fixture
async def ladders() -> AsyncIterator[Ladders]:
    made = Ladders(OPTIONS)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def plain() -> Encoded:
    return encode(4.0, audio="", gop=30, options={"bf": "0"})


def test_what_a_ladder_is() -> None:
    assert parse_ladder("off", 64) == ()
    assert [rung.name for rung in parse_ladder("240, 720p", 1)] == ["720p", "240p"]
    assert [rung.name for rung in parse_ladder("auto", 2)] == ["480p", "240p"]
    assert [rung.name for rung in parse_ladder("auto", 1)] == ["240p"]
    assert len(parse_ladder("auto", 4)) < len(parse_ladder("auto", 64))
    for bad in ("many", "480,", "2160", "480;240"):
        with pytest.raises(ValueError, match="off, auto"):
            parse_ladder(bad, 8)


@pytest.mark.parametrize(
    ("width", "height", "rate", "found"),
    [
        (1280, 720, 30.0, ["480p 854x480", "360p 640x360", "240p 426x240"]),
        (1280, 714, 30.0, ["480p 854x476", "360p 640x356", "240p 426x238"]),  # no rung of its own size
        (720, 1280, 30.0, ["480p 480x854", "360p 360x640", "240p 240x426"]),
        (1280, 534, 30.0, ["480p 854x356", "360p 640x268", "240p 426x178"]),
        (426, 240, 30.0, []),
        (0, 0, 0.0, []),
    ],
)
def test_rungs_are_below_the_source_and_of_its_shape(width: int, height: int, rate: float, found: list[str]) -> None:
    ladder = tuple(rung for rung in reversed(LADDER) if rung.height <= 720)
    assert [f"{s.name} {s.width}x{s.height}" for s in steps_of(ladder, width, height, rate)] == found


def test_what_a_rung_takes() -> None:
    [slow], [fast] = (steps_of([rung for rung in LADDER if rung.name == "480p"], 1280, 720, rate) for rate in (30, 60))
    assert fast.rate == 1.5 * slow.rate
    assert expected(slow, 0) == slow.rate
    assert expected(slow, 9e6) == slow.rate
    assert expected(slow, 1e6) == 800_000
    assert [level_of(w, h, 30) for w, h in ((426, 240), (854, 480), (1280, 720), (1920, 1080))] == [30, 31, 31, 40]
    assert level_of(1280, 720, 60) == 32


@pytest.mark.parametrize("video", ["libx264", "libx265", "libvpx-vp9", "libaom-av1"])
async def test_rungs_have_the_sources_key_frames_and_times(ladders: Ladders, video: str) -> None:
    """The H.264 one has B-frames: its rungs have none, and the same times."""
    encoded = await asyncio.to_thread(encode, 2.0, video=video, audio="", gop=30)
    [track] = encoded.tracks
    broadcast = Broadcast("b", Log())
    ladder = ladders.of(broadcast)
    session = publish(broadcast, track)
    await feed(session, encoded.samples[:1])
    for rung in ("120p", "90p"):
        ladder.want(rung)
    takes = {name: keep(broadcast, name) for name in ("120p", "90p")}
    await ready(ladder)
    await feed(session, encoded.samples[1:])
    shown = sorted(sample.pts for sample in encoded.samples)
    keys = {sample.pts: sample.dts for sample in encoded.samples if sample.key}
    for name, take in takes.items():
        # what the source's decoder holds back for its order is all that may be missing
        await eventually(lambda take=take: take.samples and take.samples[-1].pts >= shown[-4], within=60)
        [made] = take.tracks
        assert (made.codec, made.height, made.width % 2) == (Codec.H264, int(name[:-1]), 0)
        assert [sample.pts for sample in take.samples] == shown[: len(take.samples)]
        made_keys = {sample.pts: sample.dts for sample in take.samples if sample.key}
        assert made_keys.keys() == keys.keys()
        assert all(abs(made_keys[pts] - keys[pts]) <= 1 for pts in keys)  # cut where the source is
        assert all(a.dts < b.dts for a, b in zip(take.samples, take.samples[1:], strict=False))
        seen = pictures(made, take.samples)
        assert seen == [(sample.pts, made.width, made.height) for sample in take.samples]


async def test_it_begins_with_what_came_since_the_last_key_frame_and_ends_with_the_last_wish(
    ladders: Ladders, plain: Encoded
) -> None:
    broadcast = Broadcast("b", Log())
    ladder = ladders.of(broadcast)
    session = publish(broadcast, plain.tracks[0])
    await feed(session, plain.samples[:50])
    assert [offer.name for offer in ladder.offers()] == ["120p", "90p"]
    assert not ladder.running  # nobody asked
    lease, second = ladder.want("90p"), ladder.want("90p")
    assert broadcast.derived["90p"].listed
    take = keep(broadcast, "90p")
    await eventually(lambda: len(take.samples) == 20, within=60)
    assert take.samples[0].pts == plain.samples[30].pts
    pid = ladder.describe()["child"]["pid"]  # type: ignore[index]
    other = ladder.want("120p")  # joins at the next key frame
    high = keep(broadcast, "120p")
    await feed(session, plain.samples[50:70])
    await eventually(lambda: len(high.samples) == 10, within=60)
    assert high.samples[0].pts == plain.samples[60].pts
    assert ladder.describe()["child"]["pid"] == pid  # type: ignore[index]
    lease.release()
    lease.release()
    other.release()
    await eventually(lambda: high.ended)
    assert not take.ended
    second.release()
    await eventually(lambda: take.ended and not ladder.running and not ladders.describe()["ending"])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(LadderBusy):
        ladder.want("2160p")
    broadcast.end("over")
    with pytest.raises(LadderBusy):
        ladder.want("90p")


async def test_a_killed_child_is_replaced_and_the_rung_goes_on_with_a_key_frame(
    ladders: Ladders, plain: Encoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.transcode.stream_child.BACKOFF_SECONDS", (0.0,))
    broadcast, own = Broadcast("b", Log()), Take()
    broadcast.add(own)
    ladder = ladders.of(broadcast)
    session = publish(broadcast, plain.tracks[0])
    await feed(session, plain.samples[:10])
    ladder.want("90p")
    take = keep(broadcast, "90p")
    await eventually(lambda: len(take.samples) == 10, within=60)
    os.kill(ladder.describe()["child"]["pid"], signal.SIGKILL)  # type: ignore[index]
    # Not "is it gone" first: without a back-off the next one may be there before anybody looks.
    await eventually(lambda: ladder._child and ladder._child.restarts == 1 and ladder._ready, within=60)
    await feed(session, plain.samples[10:])
    await eventually(lambda: take.samples[-1].pts == plain.samples[-1].pts, within=60)
    assert [s.pts for s in take.samples] == [s.pts for s in (*plain.samples[:10], *plain.samples[30:])]
    assert take.samples[10].key
    assert len(take.tracks) == 1  # the playlists go on with the init segment that they have
    assert not take.interrupted
    assert len(pictures(take.tracks[0], take.samples)) == len(take.samples)
    assert len(own.samples) == len(plain.samples)


async def test_a_source_that_changes_its_size_and_one_that_is_broken(ladders: Ladders, plain: Encoded) -> None:
    broadcast = Broadcast("b", Log())
    ladder = ladders.of(broadcast)
    session = publish(broadcast, plain.tracks[0])
    await feed(session, plain.samples[:1])
    ladder.want("90p")
    take = keep(broadcast, "90p")
    await ready(ladder)
    broken = [
        s._replace(data=s.data[:10] + os.urandom(len(s.data) - 10)) if 5 <= n < 20 else s
        for n, s in enumerate(plain.samples)
    ]
    await feed(session, broken[1:60])
    await eventually(lambda: take.samples and take.samples[-1].pts == plain.samples[59].pts, within=60)
    assert {30, 31, 59} <= {n for n, s in enumerate(plain.samples) if s.pts in {t.pts for t in take.samples}}
    assert ladder._child is not None
    assert ladder._child.restarts == 0
    upright = await asyncio.to_thread(encode, 1.0, audio="", gop=30, options={"bf": "0"}, size=(180, 240))
    session.track(upright.tracks[0])
    following = later(upright.samples, plain.samples[60].dts)
    await feed(session, following)
    await eventually(lambda: len(take.tracks) == 2 and take.samples[-1].pts == following[-1].pts, within=60)
    assert (take.tracks[1].width, take.tracks[1].height) == (90, 120)
    # the clock goes on, and what was being made of the size before is not lost
    assert not take.interrupted
    assert {s.pts for s in following} <= {s.pts for s in take.samples}
    # in the same shape: one picture after the other, with the parameter sets that players have
    wide = await asyncio.to_thread(encode, 1.0, audio="", gop=30, options={"bf": "0"}, size=(240, 320))
    session.track(wide.tracks[0])
    last = later(wide.samples, following[-1].dts + 3000)
    await feed(session, last)
    await eventually(lambda: take.samples[-1].pts == last[-1].pts, within=60)
    assert len(take.tracks) == 2
    small = await asyncio.to_thread(encode, 0.2, audio="", options={"bf": "0"}, size=(128, 72))
    session.track(small.tracks[0])
    await feed(session, later(small.samples, last[-1].dts + 3000))
    assert take.ended  # nothing is made as large as the source
    assert not ladder.offers()


async def test_a_rung_in_the_package_is_made_when_asked_for_and_cut_with_the_source(tmp_path: Path) -> None:
    """By ffprobe: the playlist of what was made has every picture from its first segment on."""
    ladders, shelf, clock = Ladders(OPTIONS), MemoryShelf(), Clock()
    encoded = await asyncio.to_thread(encode, 8.0, gop=60)
    broadcast = Broadcast("b", Log())
    maker = Renditions(Sounds(0), ladders, aac=False).of(broadcast)
    package = LivePackage(PackageOptions(segment_seconds=2.0), shelf, clock, maker=maker)
    broadcast.add(package)
    broadcast.follow(package.followers)
    ladder = ladders.of(broadcast)
    session = broadcast.open(request())
    for track in encoded.tracks:
        session.track(track)
    begin = clock.now
    asked: asyncio.Future[Answer] | None = None
    for number, sample in enumerate(encoded.samples):
        clock.now = max(clock.now, begin + sample.dts / (90_000 if sample.track == 1 else 48_000))
        session.samples([sample])
        if number == 150:
            index = package.answer("index.m3u8", {})
            assert isinstance(index, Answer)
            assert isinstance(index.body, bytes)
            assert b"RESOLUTION=160x90" in index.body
            assert b"v-90p.m3u8" in index.body
            assert not ladder.running  # the list of lists costs nothing
            waits = package.answer("v-90p.m3u8", {})
            assert not isinstance(waits, Answer)
            asked = asyncio.ensure_future(waits)
            await ready(ladder)
        if asked is not None and number % 10 == 0 and sample.track == 1:
            # the child is as far as it would be in real time
            await eventually(lambda at=sample.pts: ladder._came > at - 10 * 3000, within=60)
    assert asked is not None
    first = await asked
    assert first.status == 200
    last = max(sample.pts for sample in encoded.samples if sample.track == 1)
    await eventually(lambda: ladder._came > last - 5 * 3000, within=60)
    session.close("gone", clean=True)
    source, rung = package.renditions["v"].pieces, package.followers.renditions["v-90p"].pieces
    begins = {piece.msn: piece.start for piece in source}
    made = [piece for piece in rung if not piece.gap]
    assert len(made) >= 2
    assert all(abs(piece.start - begins[piece.msn]) <= 90 for piece in made)  # a millisecond
    file = tmp_path / "rung.mp4"
    names = [made[0].init, *(piece.name for piece in made)]
    file.write_bytes(b"".join(shelf.files[name] for name in names))
    told = await asyncio.create_subprocess_exec(
        "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=height,has_b_frames,nb_read_frames", "-of",
        "csv=p=0", str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await told.communicate()
    height, b_frames, count = out.decode().strip().split(",")
    assert (height, b_frames) == ("90", "0")
    # all but what the source's decoder still holds back for its order
    assert 60 * len(made) - 5 <= int(count) <= 60 * len(made)
    await ladders.close()


class Slow:
    """In the place of a child: takes what it is sent, and is as far behind as it is told to be."""

    def __init__(self, module: str, owner: Ladder, *, buffer_bytes: int) -> None:
        self.owner = owner
        self.full = False
        self.config = b"c"
        self.frames: list[tuple[int, int, bool, bytes]] = []
        self.rungs: list[str] = []
        self._decode = msgspec.msgpack.Decoder(Begin | Rungs | Batch).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def start(self) -> None:
        self.owner.on_child()

    def send(self, message: bytes) -> bool:
        told = self._decode(message)
        if isinstance(told, Rungs):
            self.rungs = [step.name for step in told.steps]
        elif isinstance(told, Batch):
            if self.full:
                return False
            self.frames += told.frames
        return True

    def done(self, upto: int) -> None:
        """It has made all rungs of what it was sent, up to this frame."""
        for name in self.rungs:
            for dts, pts, key, _ in self.frames[:upto]:
                number, config = self.owner._number, self.config if key else b""
                made = Made(number, name, dts, pts, key, UNIT, config, "avc1", 16, 16, False)
                self.owner.on_message(self._encode(made))
        del self.frames[:upto]

    async def close(self) -> None:
        pass

    def describe(self) -> dict[str, object]:
        return {}


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "StreamChild", Slow)
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)


def started(ladders: Ladders, name: str = "b") -> tuple[Broadcast, PublisherSession, Ladder]:
    broadcast = Broadcast(name, Log())
    ladder = ladders.of(broadcast)
    session = publish(broadcast, VIDEO)
    session.samples([frame(1, 0, key=True)])
    return broadcast, session, ladder


async def test_what_is_too_much_goes_from_the_top_and_comes_back(slow: None) -> None:
    ladders = Ladders(LadderOptions(rungs=LADDER[2::-1], linger=60.0, grace=0.05, back=0.5))
    broadcast, session, ladder = started(ladders)
    leases = [ladder.want(name) for name in ("480p", "360p", "240p")]
    child = ladder._child
    assert isinstance(child, Slow)
    session.samples([frame(1, n * 3000) for n in range(1, 30)])
    await asyncio.sleep(0.2)
    assert child.rungs == ["480p", "360p", "240p"]  # a second behind: not worth a rung
    session.samples([frame(1, n * 3000, key=n == 60) for n in range(30, 90)])
    await eventually(lambda: child.rungs == ["240p"])
    assert leases[0].derived.closed
    assert NOTE in broadcast.notes
    assert broadcast.notes[NOTE] == "The machine is busy: 480p and 360p are not offered just now."
    assert [step.name for step in ladder.offers()] == ["240p"]
    with pytest.raises(LadderBusy):
        ladder.want("480p")
    child.done(len(child.frames))
    assert not leases[2].derived.closed
    await eventually(lambda: [step.name for step in ladder.offers()] == ["480p", "360p", "240p"])
    assert NOTE not in broadcast.notes
    ladder.want("480p")
    assert child.rungs == ["480p", "240p"]
    session.samples([frame(1, n * 3000) for n in range(90, 180)])
    await eventually(lambda: child.rungs == ["240p"])
    assert ladder._absent["480p"].wait > ladder._absent["360p"].wait  # each time it stays away longer
    await ladders.close()


async def test_the_lowest_rung_leaves_pictures_out_before_it_goes(slow: None) -> None:
    ladders = Ladders(LadderOptions(rungs=LADDER[:1], linger=60.0, grace=0.05))
    broadcast, session, ladder = started(ladders)
    ladder.want("240p")
    child = ladder._child
    assert isinstance(child, Slow)
    session.samples([frame(1, n * 3000) for n in range(1, 90)])
    await eventually(lambda: ladder.skips)
    session.samples([frame(1, n * 3000, key=n == 100) for n in range(90, 110)])
    assert [pts // 3000 for _, pts, _, _ in child.frames] == [*range(90), *range(100, 110)]
    child.full = True  # its pipe, too
    session.samples([frame(1, 110 * 3000), frame(1, 111 * 3000)])
    child.full = False
    session.samples([frame(1, 112 * 3000), frame(1, 113 * 3000, key=True)])
    assert child.frames[-1][1] == 113 * 3000
    assert child.frames[-2][1] == 109 * 3000

    async def gone() -> bool:
        last = child.frames[-1][1]
        session.samples([frame(1, last + 3000, key=True)])
        return not ladder.running

    await eventually(gone)
    assert broadcast.notes[NOTE] == "The machine is busy: 240p is not offered just now."
    assert not ladder.offers()
    await ladders.close()


async def test_no_more_ladders_than_allowed_and_none_of_what_cannot_be_made_small(slow: None) -> None:
    ladders = Ladders(LadderOptions(rungs=LADDER[:1], linger=60.0))
    one, _, ladder = started(ladders)
    other, _, waiting = started(ladders, "c")
    assert [step.name for step in waiting.offers()] == ["240p"]
    ladder.want("240p")
    assert not waiting.offers()
    with pytest.raises(LadderBusy):
        waiting.want("240p")
    assert "as many broadcasts as it can" in other.notes[NOTE]
    child = ladder._child
    assert isinstance(child, Slow)
    refused = Refused(ladder._number, "it has a high dynamic range")
    ladder.on_message(msgspec.msgpack.encode(refused))
    assert not one.derived
    assert one.notes[NOTE] == "No smaller pictures are made of this one: it has a high dynamic range."
    assert not ladder.offers()
    await eventually(lambda: waiting.offers() and not other.notes)
    one.end("over")
    assert not one.notes
    await ladders.close()


async def test_a_layer_that_the_publisher_sends_is_not_made_too(slow: None) -> None:
    ladders = Ladders(LadderOptions(rungs=LADDER[2::-1]))
    broadcast, _, ladder = started(ladders)
    layer = broadcast.derive("m", listed=True)
    layer.track(replace(VIDEO, width=640, height=360))
    assert [step.name for step in ladder.offers()] == ["480p", "240p"]
    layer.close()
    assert [step.name for step in ladder.offers()] == ["480p", "360p", "240p"]
