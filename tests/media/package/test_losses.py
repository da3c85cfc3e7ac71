"""A real spool that is full, or whose disk is, under a live package: what was lost is a gap, and nothing else is."""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from media.package.answer import Answer
from media.package.journal import Head, Init, Lost, read
from media.package.live import LivePackage, PackageOptions
from storage.objects import writer
from storage.objects.folder import FolderStore
from storage.objects.spool import Spool


class Remote:
    """A store in a folder that the spool has to send to, as to one far away."""

    def __init__(self, root: Path) -> None:
        self._inner = FolderStore(root)

    def __getattr__(self, name: str) -> object:
        if name in ("place", "drop"):
            raise AttributeError(name)
        return getattr(self._inner, name)


class Disk:
    """Stands before the spool's writing and refuses it while `full`."""

    def __init__(self) -> None:
        self.full = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("_write_file", "_write_all"):
            monkeypatch.setattr(writer, name, self._refusing(getattr(writer, name)))

    def _refusing(self, real: Callable[..., None]) -> Callable[..., None]:
        def write(*args: object) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(*args)

        return write


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    store = Remote(tmp_path / "objects")
    made = Spool(tmp_path / "spool", store, max_bytes=1 << 20, cache_bytes=1 << 20)  # type: ignore[arg-type]
    await store.start()  # type: ignore[operator]
    await made.start()
    yield made
    await made.close(1.0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    disk.install(monkeypatch)
    return disk


def listed(body: str) -> list[tuple[str, bool]]:
    """Each segment's name and whether it is a gap."""
    lines = body.splitlines()
    return [(x, lines[n - 2] == "#EXT-X-GAP") for n, x in enumerate(lines) if re.fullmatch(r"[va]-\d+\.m4s", x)]


def text(package: LivePackage, name: str) -> str:
    answer = package.answer(name, {})
    assert isinstance(answer, Answer)
    assert isinstance(answer.body, bytes)
    return answer.body.decode()


async def publish(
    package: LivePackage, kit: SimpleNamespace, clock: SimpleNamespace, disk: Disk, full: range, until: int
) -> None:
    """Segments 0 to `until` - 1; the disk is full while those of `full` are written."""
    samples = kit.made_up(2.0 * until + 0.1)
    for msn in range(until):
        disk.full = msn in full
        # the segment is closed by the first samples of the next
        limit = 2.0 * (msn + 1) + 0.1
        batch = [s for s in samples if limit - 2.0 <= s.dts / (90_000 if s.track == 1 else 48_000) < limit]
        if not msn:
            batch = [s for s in samples if s.dts / (90_000 if s.track == 1 else 48_000) < limit]
        await kit.feed(package, batch, clock)
        assert package.next == msn + 1
        await package.shelf.flush()
    disk.full = False


@pytest.mark.parametrize("seconds", [1800, 120], ids=["", "short window"])
async def test_a_full_disk(
    spool: Spool, disk: Disk, kit: SimpleNamespace, clock: SimpleNamespace, seconds: int
) -> None:
    options = PackageOptions(dvr_seconds=seconds)
    package = LivePackage(options, spool.shelf("live/1"), clock)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await publish(package, kit, clock, disk, range(2, 4), 8)
    for letter in "va":
        edge = listed(text(package, f"{letter}.m3u8"))
        assert edge == [(f"{letter}-{n}.m4s", n in (2, 3)) for n in range(8)]
        for name, gap in edge:
            answer = package.answer(name, {})
            found = answer if isinstance(answer, Answer) else await answer
            assert found.status == (404 if gap else 200), name
    manifest = text(package, "index.mpd")
    assert re.findall(r'<Period id="(p\d+)"', manifest) == ["p0", "p4"]
    assert re.findall(r'startNumber="(\d+)"', manifest) == ["0", "0", "4", "4"]
    assert manifest.count("<S ") == 2 * 6

    # killed: another process goes on from the journal, and every number is as it was
    again = LivePackage(options, spool.shelf("live/1"), clock)
    await again.restore()
    assert listed(text(again, "v.m3u8")) == [(f"v-{n}.m4s", n in (2, 3, 8)) for n in range(9)]
    assert "#EXT-X-MEDIA-SEQUENCE:0\n" in text(again, "v.m3u8")

    package.on_end()  # closes the rest of the media as segment 8
    recording = await package.finish()
    assert recording.segments == 7
    body = (await spool.read("live/1/recording-v.m3u8") or b"").decode()
    assert listed(body) == [(f"v-{n}.m4s", n in (2, 3)) for n in range(9)]
    for n in range(9):
        assert (await spool.read(f"live/1/v-{n}.m4s") is None) == (n in (2, 3))


async def test_a_disk_that_is_full_from_the_first_moment(
    spool: Spool, disk: Disk, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    """The head and the configurations come into the journal once there is room: without them nothing can be played."""
    disk.full = True
    shelf = spool.shelf("live/1")
    package = LivePackage(PackageOptions(), shelf, clock)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await publish(package, kit, clock, disk, range(2), 6)
    lines = list(read(await shelf.journal()))
    assert sum(isinstance(x, Head) for x in lines) == 1
    assert {x.name for x in lines if isinstance(x, Init)} == {"v-init-0.mp4", "a-init-0.mp4"}
    assert await shelf.read("v-init-0.mp4") is not None
    package.on_end()
    recording = await package.finish()
    assert recording.segments == 5
    again = LivePackage(PackageOptions(), spool.shelf("live/1"), clock)
    await again.restore()
    assert listed(text(again, "v.m3u8")) == [(f"v-{n}.m4s", False) for n in range(2, 7)]
    assert "#EXT-X-MEDIA-SEQUENCE:2\n" in text(again, "v.m3u8")


async def test_what_was_lost_last_is_known_to_the_next_process(
    spool: Spool, disk: Disk, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    package = LivePackage(PackageOptions(), spool.shelf("live/1"), clock)
    package.on_tracks((kit.video_track(), kit.audio_track()))
    await publish(package, kit, clock, disk, range(3, 6), 6)
    await package.close()
    assert max(x.msn for x in read(await package.shelf.journal()) if isinstance(x, Lost)) == 5
    again = LivePackage(PackageOptions(), spool.shelf("live/1"), clock)
    await again.restore()
    assert listed(text(again, "v.m3u8")) == [(f"v-{n}.m4s", n in (3, 4, 5)) for n in range(7)]


async def test_what_the_spool_has_no_room_for_is_a_gap(
    spool: Spool, kit: SimpleNamespace, clock: SimpleNamespace
) -> None:
    package = LivePackage(PackageOptions(), spool.shelf("live/1"), clock)
    package.on_tracks((kit.video_track(),))
    await kit.feed(package, kit.made_up(2.1, audio=0), clock)
    await kit.feed(package, kit.made_up(4.1, audio=0, start=2.1, size=30_000), clock)
    await kit.feed(package, kit.made_up(12.0, audio=0, start=6.2), clock)
    lost = package.shelf.lost
    assert lost > 0
    gaps = [name for name, gap in listed(text(package, "v.m3u8")) if gap]
    assert len(gaps) == lost
    for name, gap in listed(text(package, "v.m3u8")):
        answer = package.answer(name, {})
        found = answer if isinstance(answer, Answer) else await answer
        assert (found.status == 404) == gap, name


async def test_a_loss_heard_of_when_the_segment_is_sealed(
    kit: SimpleNamespace, clock: SimpleNamespace, shelf: SimpleNamespace
) -> None:
    """A disk so slow that it says so a minute later."""
    package = LivePackage(PackageOptions(), shelf, clock)
    package.on_tracks((kit.video_track(),))
    await kit.feed(package, kit.made_up(120.0, audio=0), clock)
    package.lose(3)
    package.lose(3)
    package.lose(40)
    assert [name for name, gap in listed(text(package, "v.m3u8")) if gap] == ["v-3.m4s", "v-40.m4s"]
    assert text(package, "v.m3u8").count("#EXT-X-GAP") == 2
