"""A prefix that another process deleted stays deleted, whatever the spools of the fleet still have of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.objects import StoreError
from storage.objects.deletions import MARKS, Deletions
from storage.objects.folder import FolderStore
from storage.objects.s3 import S3Store
from storage.objects.spool import Spool
from storage.objects.store import ObjectStore
from tests.conftest import S3
from tests.storage.test_spool import MIB, Flaky
from tests.support import eventually


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
    flaky.away = False
    flaky.gate.set()
    await made.close(0.1)


async def objects(store: ObjectStore) -> list[str]:
    """All but the marks."""
    return [key async for key, _ in store.list("") if not key.startswith(MARKS + "/")]


def here(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


async def test_what_waited_while_a_worker_deleted_is_dropped(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    other = spool.shelf("live/2")
    other.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await spool.settled()
    flaky.away = True
    for n in range(1, 20):
        shelf.add({f"v-{n}.m4s": [b"x"]}, b'{"msn":%d}' % n)
    await shelf.flush()
    await eventually(lambda: spool.describe()["failing"])
    # the worker reaches the store before this node does
    assert await Deletions(flaky.inner).delete_prefix("live/1") == 2
    flaky.away = False
    await spool.settled()
    assert await objects(flaky.inner) == ["live/2/journal.jsonl", "live/2/v-0.m4s"]
    assert here(tmp_path / "spool") == ["live/2/journal.jsonl"]
    assert spool.pending_bytes == 0
    assert await shelf.read("v-0.m4s") is None


async def test_what_is_being_sent_while_a_worker_deletes_is_deleted_after(spool: Spool, flaky: Flaky) -> None:
    shelf = spool.shelf("live/1")
    flaky.gate.clear()
    shelf.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await eventually(lambda: flaky.most > 0)
    assert await Deletions(flaky.inner).delete_prefix("live/1") == 0
    flaky.gate.set()
    await eventually(lambda: "live/1/v-0.m4s" in flaky.order)
    await spool.settled()
    assert await objects(flaky.inner) == []


async def test_what_is_still_written_after_a_deletion_goes_too(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    for n in range(3):
        shelf.add({f"v-{n}.m4s": [b"x"]}, b'{"msn":%d}' % n)
        await spool.settled()
        if not n:
            await Deletions(flaky.inner).delete_prefix("live/1")
    await spool.put("live/1/thumb.jpg", b"picture")
    await spool.settled()
    assert await objects(flaky.inner) == []
    assert here(tmp_path / "spool") == []


async def test_nobody_has_to_ask_for_the_look(spool: Spool, flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark is looked for by the clock alone, also when nothing more is written."""
    monkeypatch.setattr("storage.objects.waiting.CHECK_SECONDS", 0.05)
    await Deletions(flaky.inner).delete_prefix("live/1")
    spool.shelf("live/1").add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await eventually(lambda: "live/1/v-0.m4s" in flaky.order)

    async def gone() -> bool:
        return await objects(flaky.inner) == []

    await eventually(gone)


async def test_a_store_that_goes_away_in_the_middle_is_asked_again(
    spool: Spool, flaky: Flaky, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Deletions(flaky.inner).delete_prefix("live/1")
    refusals = 0
    real = flaky.delete_prefix

    async def refused(prefix: str) -> int:
        nonlocal refusals
        refusals += 1
        if refusals < 3:
            raise StoreError("away")
        return await real(prefix)

    monkeypatch.setattr(flaky, "delete_prefix", refused)
    spool.shelf("live/1").add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await spool.settled()
    assert refusals == 3
    assert await objects(flaky.inner) == []


async def test_the_next_start_does_not_bring_it_back(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    flaky.away = True
    spool.shelf("live/1").add({"v-0.m4s": [b"zero"], "v-1.m4s": [b"one"]}, b'{"msn":0}')
    await spool.close(5)
    flaky.away = False
    await Deletions(flaky).delete_prefix("live/1")
    second = Spool(tmp_path / "spool", flaky, max_bytes=MIB, cache_bytes=MIB)
    await second.start()
    await second.settled()
    assert await objects(flaky.inner) == []
    assert here(tmp_path / "spool") == []
    await second.close()


async def test_a_closed_shelf_is_looked_after_before_it_is_let_go(spool: Spool, flaky: Flaky, tmp_path: Path) -> None:
    shelf = spool.shelf("live/1")
    shelf.add({"v-0.m4s": [b"0"]}, b'{"msn":0}')
    await Deletions(flaky.inner).delete_prefix("live/1")
    await shelf.close()
    await eventually(lambda: here(tmp_path / "spool") == [])
    await spool.settled()
    assert await objects(flaky.inner) == []


@pytest.mark.parametrize("kind", ["folder", "s3"])
async def test_two_nodes_and_a_worker(kind: str, tmp_path: Path, s3: S3) -> None:
    """One node has files waiting, the other one is asked to delete; and a folder that two processes share."""

    def open_store() -> FolderStore | S3Store:
        if kind == "folder":
            return FolderStore(tmp_path / "objects")
        return S3Store(s3.endpoint, s3.bucket, region=s3.region, access_key=s3.access_key, secret_key=s3.secret_key)

    stores = [open_store(), open_store()]
    spools = []
    for n, store in enumerate(stores):
        await store.start()
        spools.append(Spool(tmp_path / f"spool-{n}", store, max_bytes=MIB, cache_bytes=MIB))
        await spools[n].start()
    shelf = spools[0].shelf("live/1")
    for n in range(20):
        shelf.add({f"v-{n}.m4s": [b"x"]}, b'{"msn":%d}' % n)
    await asyncio.gather(spools[1].delete_prefix("live/1"), shelf.flush())
    shelf.add({"v-20.m4s": [b"x"]}, b'{"msn":20}')
    await spools[0].settled()
    assert await objects(stores[1]) == []
    assert await shelf.read("v-20.m4s") is None
    for spool in spools:
        await spool.close()
    for store in stores:
        await store.close()
