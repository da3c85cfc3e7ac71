"""Objects that come piece by piece: a folder and an S3 server, by one suite."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from storage.objects import Appender, Lost, ObjectStore, Parts, Piece, StoreError
from storage.objects.folder import FolderStore
from storage.objects.folder_parts import FORCE, FolderParts
from storage.objects.s3 import S3Store
from storage.objects.s3_parts import PART, S3Parts
from tests.conftest import S3

BYTES = os.urandom(2 * PART + 1234)
KEY = "videos/1/source"
PLACE = "videos/1/upload"


@dataclass
class Stage:
    store: ObjectStore
    parts: Parts
    s3: S3 | None

    async def bring(self, data: bytes, place: str = PLACE, offset: int = 0, at_once: int = 1 << 20) -> int:
        appender = await self.parts.open(place, offset)
        try:
            for at in range(0, len(data), at_once):
                await appender.write(data[at : at + at_once])
            return await appender.keep()
        finally:
            await appender.close()

    async def keys(self, prefix: str) -> list[str]:
        return [key async for key, _ in self.store.list(prefix)]


@pytest.fixture(params=["folder", "s3"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        store = S3Store(s3.endpoint, s3.bucket, region=s3.region, access_key=s3.access_key, secret_key=s3.secret_key)
        await store.start()
        yield Stage(store, S3Parts(store, tmp_path / "scratch"), s3)
        await store.close()
    else:
        folder = FolderStore(tmp_path / "objects")
        await folder.start()
        yield Stage(folder, FolderParts(folder), None)


async def test_in_one_go(stage: Stage) -> None:
    assert await stage.bring(BYTES) == len(BYTES)
    assert await stage.store.size(KEY) is None
    await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES
    await stage.parts.abort(PLACE)
    assert await stage.keys("") == [KEY]


async def test_in_many_goes_with_tails(stage: Stage) -> None:
    """Also where a piece is ended exactly, and where nothing comes."""
    cuts = [0, 1, 1, 700_000, PART - 1, PART, PART + 3, 2 * PART, len(BYTES)]
    for begin, end in pairwise(cuts):
        assert await stage.bring(BYTES[begin:end], offset=begin, at_once=300_000) == end
    await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES


async def test_what_was_not_kept_is_forgotten(stage: Stage) -> None:
    await stage.bring(b"kept")
    appender = await stage.parts.open(PLACE, 4)
    await appender.write(b"never" * 2_000_000)
    await appender.close()
    assert await stage.bring(b" and more", offset=4) == 13
    await stage.parts.complete([Piece(PLACE, 13)], KEY, "video/mp4")
    assert await stage.store.get(KEY) == b"kept and more"


async def test_it_goes_on_at_a_checkpoint(stage: Stage) -> None:
    """As after a kill -9: the appender is never told to keep."""
    appender = await stage.parts.open(PLACE, 0)
    await appender.write(BYTES[: PART + 99])
    at = await appender.checkpoint()
    assert PART <= at <= PART + 99
    await appender.close()
    assert await stage.bring(BYTES[at:], offset=at) == len(BYTES)
    await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES


async def test_several_places_become_one_object(stage: Stage) -> None:
    """Their tails are in the middle of it."""
    cuts = [0, 500, PART + 777, PART + 800, len(BYTES)]
    pieces = []
    for n, (begin, end) in enumerate(pairwise(cuts)):
        await stage.bring(BYTES[begin:end], f"uploads/{n}")
        pieces.append(Piece(f"uploads/{n}", end - begin))
    for _ in range(2):  # a second time as after a crash
        await stage.parts.complete(pieces, KEY, "video/mp4")
        assert await stage.store.get(KEY) == BYTES
    for piece in pieces:
        assert await stage.parts.abort(piece.place) > 0
    assert await stage.keys("") == [KEY]


async def test_completed_again(stage: Stage) -> None:
    """The process died between the object and what remembers it."""
    await stage.bring(BYTES)
    for _ in range(2):
        await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES


async def test_aborted(stage: Stage) -> None:
    await stage.bring(BYTES)
    await stage.bring(b"other", "videos/11/upload")
    assert await stage.parts.abort(PLACE) > 0
    assert await stage.parts.abort(PLACE) == 0
    assert all(key.startswith("videos/11/") for key in await stage.keys(""))
    with pytest.raises(Lost) as lost:
        await stage.parts.open(PLACE, len(BYTES))
    assert lost.value.offset == 0
    with pytest.raises(Lost):
        await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")


async def test_a_store_that_has_lost_some(stage: Stage, tmp_path: Path) -> None:
    """It is told up to where it has; from there on it goes on."""
    await stage.bring(BYTES)
    if stage.s3 is None:
        os.truncate(tmp_path / "objects" / PLACE / "data", PART + 5)
    else:
        await stage.store.delete([f"{PLACE}/00001"])
    with pytest.raises(Lost) as lost:
        await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    at = lost.value.offset
    assert PART <= at <= PART + 5
    assert await stage.bring(BYTES[at:], offset=at) == len(BYTES)
    await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES


async def test_a_store_that_is_away(stage: Stage, tmp_path: Path) -> None:
    """What was kept is there when it comes back, with nothing left of what it had begun (rclone forgets that)."""
    kept = await stage.bring(BYTES[: PART + 10])
    appender = await stage.parts.open(PLACE, kept)
    if stage.s3 is not None:
        stage.s3.server.close()
    else:
        os.rename(tmp_path / "objects", tmp_path / "away")
        (tmp_path / "objects").write_text("no folder")
    try:
        if stage.s3 is not None:  # each attempt takes seconds
            with pytest.raises(StoreError):
                await appender.write(BYTES)
        else:
            with pytest.raises(StoreError):
                await stage.parts.complete([Piece(PLACE, kept)], KEY, "video/mp4")
            with pytest.raises(StoreError):
                await stage.parts.open("videos/2/upload", 0)
    finally:
        await appender.close()
        if stage.s3 is not None:
            stage.s3.server.start()
        else:
            (tmp_path / "objects").unlink()
            os.rename(tmp_path / "away", tmp_path / "objects")
    assert await stage.bring(BYTES[kept:], offset=kept) == len(BYTES)
    await stage.parts.complete([Piece(PLACE, len(BYTES))], KEY, "video/mp4")
    assert await stage.store.get(KEY) == BYTES


async def test_a_store_that_is_full(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk below it, for a folder; the disk of the scratch file, for S3."""
    await stage.bring(b"kept")
    appender = await stage.parts.open(PLACE, 4)

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    if stage.s3 is None:
        monkeypatch.setattr(os, "writev", full)
    else:
        monkeypatch.setattr("tempfile.mkstemp", full)
        with pytest.raises(StoreError, match="No space left"):
            await stage.parts.open("videos/3/upload", 0)
    if stage.s3 is None:
        with pytest.raises(StoreError, match="No space left"):
            await written(appender, b"more", 1)
    await appender.close()
    monkeypatch.undo()
    assert await stage.bring(b" on", offset=4) == 7


async def test_a_disk_that_fails_beside_what_comes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system tells it once, and calls the bytes clean: what it told is not forgotten when the next fsync is well."""
    if stage.s3 is not None:
        pytest.skip("the store has the disk")
    appender, fsync = await stage.parts.open(PLACE, 0), os.fsync
    told: list[int] = []

    def fails(file: int) -> None:
        told.append(file)
        if len(told) == 1:
            raise OSError(5, "Input/output error")
        fsync(file)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StoreError, match="Input/output error"):
        await written(appender, os.urandom(FORCE // 4), 10)
    with pytest.raises(StoreError, match="Input/output error"):
        await appender.keep()
    await appender.close()
    assert len(told) == 1


async def written(appender: Appender, block: bytes, times: int) -> int:
    for _ in range(times):
        await appender.write(block)
    return await appender.keep()


async def test_nothing_of_the_scratch_has_a_name(stage: Stage, tmp_path: Path) -> None:
    if stage.s3 is None:
        pytest.skip("a folder needs none")
    appender = await stage.parts.open(PLACE, 0)
    await appender.write(b"x" * 1000)
    assert os.listdir(tmp_path / "scratch") == []
    await appender.close()
    shutil.rmtree(tmp_path / "scratch")
    assert await stage.bring(b"made anew") == 9
