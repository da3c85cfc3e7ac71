"""The spool over a folder, an S3 server, and a store that fails when told to."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest

from storage.objects import StoreError
from storage.objects import writer as writer_module
from storage.objects.folder import FolderStore
from storage.objects.spool import Spool
from tests.support import eventually

MIB = 1024 * 1024


class Flaky:
    """A store in a folder, reached as a remote one is; away, slow, or counting, as a test wants."""

    def __init__(self, root: Path) -> None:
        self.inner = FolderStore(root)
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.order: list[str] = []
        self.gets: list[str] = []
        self.most = 0
        self._now = 0

    async def start(self) -> None:
        await self.inner.start()

    async def close(self) -> None: ...

    def describe(self) -> dict[str, object]:
        return {"kind": "flaky"}

    async def _answer(self) -> None:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.away:
                raise StoreError("away")
        finally:
            self._now -= 1

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        await self._answer()
        await self.inner.put(key, data, content_type)
        self.order.append(key)

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        await self._answer()
        await self.inner.put(key, path.read_bytes(), content_type)  # noqa: ASYNC240
        self.order.append(key)

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        self.gets.append(key)
        await self._answer()
        return await self.inner.get(key, start, end)

    async def size(self, key: str) -> int | None:
        await self._answer()
        return await self.inner.size(key)

    async def delete(self, keys: Collection[str]) -> None:
        await self._answer()
        await self.inner.delete(keys)

    async def delete_prefix(self, prefix: str) -> int:
        await self._answer()
        return await self.inner.delete_prefix(prefix)

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        async for item in self.inner.list(prefix):
            yield item


@pytest.fixture
async def flaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Flaky:
    monkeypatch.setattr("storage.objects.uploader._FIRST_PAUSE", 0.005)
    monkeypatch.setattr("storage.objects.uploader._LONGEST_PAUSE", 0.05)
    store = Flaky(tmp_path / "objects")
    await store.start()
    return store


@pytest.fixture
async def spool(flaky: Flaky, tmp_path: Path) -> AsyncIterator[Spool]:
    made = Spool(tmp_path / "spool", flaky, max_bytes=MIB, cache_bytes=MIB)
    await made.start()
    yield made
    flaky.gate.set()
    await made.close(0.1)


def _files(folder: Path) -> list[str]:
    """Asked while the spool works there, so what goes away meanwhile is no fault."""
    found = (Path(above, name) for above, _, names in os.walk(folder) for name in names)
    return sorted(path.relative_to(folder).as_posix() for path in found)


async def test_everything_reaches_the_store_and_leaves_the_spool(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"ab", b"cd"], "a-0.m4s": [b"x"]}, b'{"msn":0}')
    await spool.settled()
    assert await flaky.inner.get("live/1/v-0.m4s") == b"abcd"
    assert await flaky.inner.get("live/1/a-0.m4s") == b"x"
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n'
    assert spool.pending_bytes == 0
    await spool.flush()
    assert _files(tmp_path / "spool") == ["live/1/journal.jsonl"]


async def test_closed_shelf_leaves_nothing_here(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"ab"]}, b'{"msn":0}')
    await shelf.close()
    await eventually(lambda: _files(tmp_path / "spool") == [])
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n'
    assert await spool.shelf("live/1").journal() == b'{"msn":0}\n'


async def test_a_store_that_is_away_loses_nothing(spool: Spool, flaky: Flaky) -> None:
    flaky.away = True
    shelf = spool.shelf("live/1")
    for n in range(50):
        shelf.add({f"v-{n}.m4s": [b"%d" % n]}, b'{"msn":%d}' % n)
    await eventually(lambda: spool.describe()["failing"])
    assert shelf.lost == 0
    assert spool.pending_bytes > 0
    assert await shelf.read("v-7.m4s") == b"7"
    assert "away" in str(spool.describe()["error"])
    flaky.away = False
    await spool.settled()
    for n in range(50):
        assert await flaky.inner.get(f"live/1/v-{n}.m4s") == b"%d" % n
    assert (await flaky.inner.get("live/1/journal.jsonl") or b"").count(b"\n") == 50
    assert spool.describe()["error"] == ""


async def test_the_next_start_brings_what_is_left(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    flaky.away = True
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"zero"], "v-1.m4s": [b"one"]}, b'{"msn":0}')
    await spool.close(5)
    assert _files(tmp_path / "spool") == ["live/1/journal.jsonl", "live/1/v-0.m4s", "live/1/v-1.m4s"]
    second = Spool(tmp_path / "spool", flaky, max_bytes=MIB, cache_bytes=MIB)
    await second.start()
    assert second.pending_bytes == 7
    assert await second.shelf("live/1").read("v-1.m4s") == b"one"
    assert await second.shelf("live/1").journal() == b'{"msn":0}\n'
    flaky.away = False
    await second.settled()
    assert await flaky.inner.get("live/1/v-0.m4s") == b"zero"
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n'
    await second.close()


async def test_read_goes_by_memory_then_spool_then_store(
    spool: Spool, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = spool.shelf("live/1")
    flaky.gate.clear()  # the store answers nothing
    shelf.add({"v-0.m4s": [b"a", b"b"]}, b"{}")
    assert await shelf.read("v-0.m4s") == b"ab"  # the thread may not have written it yet
    await shelf.flush()
    spool._cache.drop("live/1/v-0.m4s")
    assert await asyncio.wait_for(shelf.read("v-0.m4s"), 60) == b"ab"
    assert flaky.gets == []
    flaky.gate.set()
    await spool.settled()
    spool._cache.drop("live/1/v-0.m4s")
    assert await shelf.read("v-0.m4s") == b"ab"
    assert flaky.gets == ["live/1/v-0.m4s"]
    assert await shelf.read("v-0.m4s") == b"ab"
    assert flaky.gets == ["live/1/v-0.m4s"]  # from the cache
    assert await shelf.read("none") is None
    assert await shelf.read("../../etc/passwd") is None


async def test_a_read_never_falls_between_spool_and_store(spool: Spool, flaky: Flaky) -> None:
    """While files go from the spool to the store, every one of them can be read at every moment."""
    shelf = spool.shelf("live/1")
    names = [f"v-{n}.m4s" for n in range(60)]
    for name in names:
        shelf.add({name: [name.encode()]}, b"{}")
    while spool.pending_bytes:
        for name in names:
            spool._cache.drop(f"live/1/{name}")
        assert await asyncio.gather(*(shelf.read(name) for name in names)) == [name.encode() for name in names]


async def test_many_readers_of_one_object_ask_the_store_once(spool: Spool, flaky: Flaky) -> None:
    await flaky.inner.put("live/1/v-0.m4s", b"x", "video/mp4")
    flaky.gate.clear()
    shelf = spool.shelf("live/1")
    readers = [asyncio.create_task(shelf.read("v-0.m4s")) for _ in range(20)]
    await eventually(lambda: flaky.gets)
    readers[0].cancel()
    flaky.gate.set()
    assert await asyncio.gather(*readers[1:]) == [b"x"] * 19
    assert flaky.gets == ["live/1/v-0.m4s"]


async def test_a_read_that_fails_says_so(spool: Spool, flaky: Flaky) -> None:
    flaky.away = True
    with pytest.raises(StoreError, match="away"):
        await spool.shelf("live/1").read("v-0.m4s")
    gc.collect()  # an exception nobody took would be a warning, and so an error


async def test_what_was_read_before_a_put_is_not_kept(spool: Spool, flaky: Flaky) -> None:
    await spool.put("live/1/thumb.jpg", b"old")
    await spool.settled()
    flaky.gate.clear()
    reading = asyncio.create_task(spool.read("live/1/thumb.jpg"))
    await eventually(lambda: flaky.gets)
    await spool.put("live/1/thumb.jpg", b"new")
    flaky.gate.set()
    assert await reading in (b"old", b"new")
    assert await spool.read("live/1/thumb.jpg") == b"new"
    await spool.settled()
    spool._cache.drop("live/1/thumb.jpg")
    assert await spool.read("live/1/thumb.jpg") == b"new"
    assert await flaky.inner.get("live/1/thumb.jpg") == b"new"


async def test_overwritten_while_it_is_sent(spool: Spool, flaky: Flaky) -> None:
    flaky.gate.clear()
    await spool.put("live/1/thumb.jpg", b"1")
    await eventually(lambda: flaky.most == 1)
    await spool.put("live/1/thumb.jpg", b"22")
    flaky.gate.set()
    await spool.settled()
    assert await flaky.inner.get("live/1/thumb.jpg") == b"22"
    assert spool.pending_bytes == 0


async def test_a_full_spool_gives_up_counts_and_never_waits(spool: Spool, flaky: Flaky) -> None:
    flaky.away = True
    shelf = spool.shelf("live/1")
    for n in range(12):
        shelf.add({f"v-{n}.m4s": [b"x" * (MIB // 10)]}, b'{"msn":%d}' % n)
    assert shelf.lost == 2
    assert spool.lost == 2
    assert shelf.given_up() == [(("v-10.m4s",), b'{"msn":10}'), (("v-11.m4s",), b'{"msn":11}')]
    assert shelf.given_up() == []
    assert spool.pending_bytes <= MIB
    # The journal does not speak of what is not there.
    assert (await shelf.journal()).splitlines() == [b'{"msn":%d}' % n for n in range(10)]
    with pytest.raises(StoreError, match="full"):
        await spool.put("live/1/thumb.jpg", b"x" * MIB)
    flaky.away = False
    await spool.settled()
    shelf.add({"v-99.m4s": [b"x" * 1000]}, b'{"msn":99}')
    await spool.settled()
    assert await flaky.inner.get("live/1/v-99.m4s") == b"x" * 1000


async def test_a_full_disk_is_survived_and_said(
    spool: Spool, flaky: Flaky, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await spool.settled()
    written = writer_module._write_file

    def full(path: str, chunks: object) -> None:
        Path(path).write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer_module, "_write_file", full)
    shelf.add({"v-1.m4s": [b"1"], "a-1.m4s": [b"1"]}, b'{"msn":1}')
    await shelf.flush()
    assert shelf.lost == 2
    assert shelf.given_up() == [(("v-1.m4s", "a-1.m4s"), b'{"msn":1}')]
    assert "No space left" in str(spool.describe()["error"])
    assert spool.pending_bytes == 0
    assert await shelf.read("v-1.m4s") is None
    monkeypatch.setattr(writer_module, "_write_file", written)
    shelf.add({"v-2.m4s": [b"2"]}, b'{"msn":2}')
    await spool.settled()
    assert await shelf.journal() == b'{"msn":0}\n{"msn":2}\n'
    assert spool.describe()["error"] == ""
    assert _files(tmp_path / "spool") == ["live/1/journal.jsonl"]


async def test_a_line_cut_short_by_a_full_disk_is_taken_back(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({}, b'{"msn":0}')
    await shelf.flush()
    whole = writer_module._write_all

    def cut(handle: int, data: bytes) -> None:
        whole(handle, data[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer_module, "_write_all", cut)
    shelf.add({"v-1.m4s": [b"1"]}, b'{"msn":1}')
    await shelf.flush()
    monkeypatch.setattr(writer_module, "_write_all", whole)
    shelf.add({}, b'{"msn":2}')
    assert await shelf.journal() == b'{"msn":0}\n{"msn":2}\n'
    assert await shelf.read("v-1.m4s") is None


async def test_a_journal_begun_elsewhere_goes_on_here(spool: Spool, flaky: Flaky) -> None:
    await flaky.inner.put("live/1/journal.jsonl", b'{"msn":0}\n', "application/jsonl")
    shelf = spool.shelf("live/1")
    assert await shelf.journal() == b'{"msn":0}\n'
    shelf.add({"v-1.m4s": [b"1"]}, b'{"msn":1}')
    await spool.settled()
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n{"msn":1}\n'


async def test_the_stores_journal_speaks_only_of_what_it_has(spool: Spool, flaky: Flaky) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await spool.settled()
    flaky.away = True
    shelf.add({"v-1.m4s": [b"1"]}, b'{"msn":1}')
    await shelf.flush()
    await eventually(lambda: spool.describe()["failing"])
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n'
    flaky.away = False
    await spool.settled()
    assert await flaky.inner.get("live/1/journal.jsonl") == b'{"msn":0}\n{"msn":1}\n'


async def test_playlists_follow_what_they_name(spool: Spool, flaky: Flaky) -> None:
    flaky.gate.clear()
    shelf = spool.shelf("live/1")
    shelf.add({f"v-{n}.m4s": [b"x"] for n in range(20)}, b"{}")
    shelf.add({"recording.m3u8": [b"#EXTM3U"]}, b"")
    shelf.add({"later.m4s": [b"x"]}, b"{}")
    await shelf.flush()
    flaky.gate.set()
    await spool.settled()
    before = flaky.order[: flaky.order.index("live/1/recording.m3u8")]
    assert {f"live/1/v-{n}.m4s" for n in range(20)} <= set(before)
    assert flaky.most <= 12


async def test_removed_everywhere(spool: Spool, flaky: Flaky) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"], "v-1.m4s": [b"1"]}, b"{}")
    await spool.settled()
    assert await shelf.read("v-0.m4s") == b"0"
    flaky.gate.clear()
    shelf.add({"v-2.m4s": [b"2"]}, b"{}")
    shelf.remove(["v-0.m4s", "v-2.m4s"])
    assert await shelf.read("v-0.m4s") is None
    flaky.gate.set()
    await spool.settled()
    assert [key async for key, _ in flaky.list("live/1/v")] == ["live/1/v-1.m4s"]
    assert await shelf.read("v-2.m4s") is None
    assert spool.pending_bytes == 0


async def test_what_was_removed_while_the_store_was_away_is_gone_after_the_next_start(
    spool: Spool, flaky: Flaky, tmp_path: Path
) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b"{}")
    await spool.settled()
    flaky.away = True
    shelf.remove(["v-0.m4s"])
    await spool.close(1)
    flaky.away = False
    second = Spool(tmp_path / "spool", flaky, max_bytes=MIB, cache_bytes=MIB)
    await second.start()
    await second.settled()
    assert await flaky.inner.get("live/1/v-0.m4s") is None
    await second.close()
    assert ".removed" not in "".join(_files(tmp_path / "spool"))


async def test_a_whole_prefix_deleted(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b"{}")
    await spool.settled()
    assert await shelf.read("v-0.m4s") == b"0"
    flaky.away = True
    shelf.add({"v-1.m4s": [b"1"]}, b"{}")
    await shelf.flush()
    with pytest.raises(StoreError):
        await spool.delete_prefix("live/1")
    flaky.away = False
    await spool.delete_prefix("live/1")
    assert await shelf.read("v-0.m4s") is None
    assert [key async for key, _ in flaky.list("live/")] == []
    assert _files(tmp_path / "spool") == []
    assert spool.pending_bytes == 0


async def test_add_never_raises(spool: Spool) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"../../escape": [b"x"]}, b"{}")
    shelf.add({"a/b": [b"x"]}, b"{}")
    shelf.add({"ok": [b"x"]}, b"two\nlines")
    assert shelf.lost == 3
    await spool.close()
    shelf.add({"late": [b"x"]}, b"{}")
    assert shelf.lost == 4


async def test_chunks_without_number(spool: Spool) -> None:
    """More buffers than one system call takes."""
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"%04d" % n for n in range(3000)]}, b"{}")
    await spool.settled()
    spool._cache.drop("live/1/v-0.m4s")
    assert await shelf.read("v-0.m4s") == b"".join(b"%04d" % n for n in range(3000))


async def test_the_cache_is_bounded(flaky: Flaky, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool2", flaky, max_bytes=MIB, cache_bytes=1000)
    await spool.start()
    for n in range(20):
        await flaky.inner.put(f"live/1/v-{n}.m4s", b"x" * 200, "video/mp4")
        await spool.read(f"live/1/v-{n}.m4s")
        assert int(str(spool.describe()["cache_bytes"])) <= 1000
    await flaky.inner.put("live/1/big", b"x" * 900, "video/mp4")
    await spool.read("live/1/big")
    assert await spool.read("live/1/v-19.m4s") == b"x" * 200
    assert flaky.gets.count("live/1/v-19.m4s") == 1  # one large object did not push the others out
    await spool.close()
