"""A whole server in the test's process, people in it, and videos whose files are there without an upload."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from server.streaming.videos.models import Failure, Pictures, Rendition, VideoState, Visibility, source_key
from server.wiring.process import Wiring
from storage.objects import ObjectStore
from tests.server.identity.privacy.place import Person, Place, place
from tests.support import eventually

CLIP = [
    "ffmpeg", "-nostdin", "-v", "error",
    "-f", "lavfi", "-i", "testsrc2=s=640x360:r=24",
    "-f", "lavfi", "-i", "sine=f=440:r=48000",
    "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "24", "-c:a", "aac", "-b:a", "64k",
]  # fmt: skip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """A file of so many seconds: 640x360, H.264 with a key frame each second, AAC."""
    import subprocess  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("clips")

    def make(seconds: float) -> Path:
        path = folder / f"{seconds:g}.mp4"
        if not path.exists():
            subprocess.run([*CLIP, "-t", str(seconds), str(path)], check=True)
        return path

    return make


@dataclass
class Studio:
    """What a test does with videos."""

    place: Place
    folder: Path

    @property
    def wiring(self) -> Wiring:
        return self.place.wiring

    @property
    def objects(self) -> ObjectStore:
        return self.wiring.objects

    async def person(self, name: str) -> Person:
        return await self.place.register(name)

    async def begin(self, owner: Person, title: str = "A film", **more: Any) -> str:
        """The row alone, as when an upload begins."""
        more.setdefault("visibility", Visibility.PUBLIC)
        async with self.wiring.database.transaction() as conn:
            return str(await self.wiring.vod.videos.begin(conn, UUID(owner.id), title=title, **more))

    async def bring(self, owner: Person, file: Path, **more: Any) -> str:
        """As an upload does at its end."""
        id = await self.begin(owner, **more)
        copy = self.folder / f"copy-{id}"
        size = (await asyncio.to_thread(shutil.copyfile, file, copy)).stat().st_size
        await self.objects.put_file(source_key(UUID(id)), copy, "application/octet-stream")
        await self.arrived(id, size)
        return id

    async def arrived(self, id: str, size: int) -> None:
        async with self.wiring.database.transaction() as conn:
            await self.wiring.vod.videos.uploaded(conn, UUID(id), size=size)

    async def ready(self, owner: Person, title: str = "A film", **more: Any) -> str:
        """A video as it is when all is done, without the work."""
        id = await self.begin(owner, title, **more)
        await self.place.sql(
            """update videos set state = $2, progress = 1, duration = 100, source_bytes = 1000, stored_bytes = 500,
                   renditions = $3, pictures = $4, packaged = 1, run = 1,
                   published_at = case when publish_at is null then clock_timestamp() end
               where id = $1""",
            UUID(id),
            VideoState.READY,
            _json([Rendition("240p", 426, 240, 400_000)]),
            _json(Pictures(thumbnails=("thumb-1.jpg", "thumb-0.jpg"), storyboard="story.vtt", preview="preview.webp")),
        )
        return id

    async def fail(self, id: str, code: str = "damaged", message: str = "It is damaged.") -> None:
        async with self.wiring.database.transaction() as conn:
            await self.wiring.vod.videos.upload_failed(conn, UUID(id), Failure(code, message))

    async def until(self, owner: Person, id: str, state: str, *, within: float = 60.0) -> dict[str, Any]:
        async def there() -> dict[str, Any] | None:
            seen: dict[str, Any] = await owner.call("GET", f"/api/v1/videos/{id}")
            assert seen["state"] == state, seen
            return seen

        found: dict[str, Any] = await eventually(there, within=within, every=0.1, what=f"the video is {state}")
        return found

    async def names(self, id: str) -> set[str]:
        return {key.removeprefix(f"videos/{id}/") async for key, _ in self.objects.list(f"videos/{id}/")}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@pytest.fixture
def settings() -> dict[str, Any]:
    """What a test changes."""
    return {}


@pytest.fixture
async def studio(tmp_path: Path, database_url: str, settings: dict[str, Any]) -> AsyncIterator[Studio]:
    given = {"disk_min_free": 0, "vod_preset": "ultrafast", **settings}
    async with place(tmp_path / "var", database_url, **given) as started:
        yield Studio(started, tmp_path)
