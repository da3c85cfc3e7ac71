"""A whole server in the test's process that works on no videos, and a client of tus that says what it likes."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from server.wiring.process import Wiring
from tests.conftest import S3
from tests.server.identity.privacy.place import Person, Place, place
from tests.support import eventually

PATH = "/api/v1/videos/tus"
MEBI = 1 << 20


def film(size: int) -> bytes:
    """What begins as an MP4 does; nobody looks at the rest here."""
    return b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + os.urandom(size - 24)


def said(**texts: str) -> str:
    """Upload-Metadata."""
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in texts.items())


@dataclass
class Answer:
    status: int
    headers: Any
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])


@dataclass
class Yard:
    place: Place

    @property
    def wiring(self) -> Wiring:
        return self.place.wiring

    async def person(self, name: str) -> Person:
        return await self.place.register(name)

    async def tus(self, who: Person | None, method: str, path: str = PATH, data: Any = None, **headers: Any) -> Answer:
        """Headers with _ for -; Tus-Resumable is sent unless it is given as None."""
        sent = {"Tus-Resumable": "1.0.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if who is not None:
            sent["Authorization"] = f"Bearer {who.token}"
        if method == "PATCH" or data is not None:
            sent.setdefault("Content-Type", "application/offset+octet-stream")
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp's advice
        sent = {name: str(value) for name, value in sent.items() if value is not None}
        async with self.place.client.request(method, path, data=data, headers=sent) as answer:
            body = await answer.json() if "json" in answer.content_type else None
            return Answer(answer.status, answer.headers, body)

    async def begin(self, who: Person, length: int, **headers: Any) -> str:
        """Its path."""
        answer = await self.tus(who, "POST", Upload_Length=length, **headers)
        assert answer.status == 201, answer.body
        return str(answer.headers["Location"])

    async def patch(self, who: Person, path: str, offset: int, data: Any, **headers: Any) -> Answer:
        return await self.tus(who, "PATCH", path, data, Upload_Offset=offset, **headers)

    async def head(self, who: Person, path: str) -> int:
        answer = await self.tus(who, "HEAD", path)
        assert answer.status == 200
        return answer.offset

    async def form(self, who: Person, *parts: tuple[str, Any], key: str = "", **more: Any) -> Answer:
        """Parts in this order; bytes or a file are the file."""
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in parts:
            if isinstance(value, str):
                form.add_field(name, value)
            else:
                form.add_field(name, value, filename="My_holiday.mp4", content_type="video/mp4")
        headers = {"Authorization": f"Bearer {who.token}", **({"Idempotency-Key": key} if key else {})}
        async with self.place.client.post("/api/v1/videos/upload", data=form, headers=headers, **more) as answer:
            return Answer(answer.status, answer.headers, await answer.json())

    async def video_of(self, path: str) -> str:
        return str(await self.place.sql("select video_id from uploads where id = $1", UUID(path.rpartition("/")[2])))

    async def state(self, video: str) -> Any:
        return await self.place.sql("select state from videos where id = $1", UUID(video))

    async def arrived(self, video: str, data: bytes) -> None:
        """The file is whole, and the jobs have it; nothing else of the upload is left."""

        async def processing() -> bool:
            return bool(await self.state(video) == "processing")

        await eventually(processing, what="the file is made")
        await eventually(lambda: self.keys_are([f"videos/{video}/source"], f"videos/{video}/"))
        assert await self.wiring.objects.get(f"videos/{video}/source") == data
        probes = await self.place.sql(
            """select count(*) from pgqueuer
               where entrypoint = 'videos.probe' and position($1 in encode(payload, 'escape')) > 0""",
            video,
        )
        assert probes == 1

    async def keys(self, prefix: str = "") -> list[str]:
        return [key async for key, _ in self.wiring.objects.list(prefix) if not key.startswith("deleted/")]

    async def keys_are(self, wanted: list[str], prefix: str = "") -> bool:
        return await self.keys(prefix) == wanted

    async def rows(self) -> int:
        return int(await self.place.sql("select count(*) from uploads"))


@pytest.fixture
def settings() -> dict[str, Any]:
    """What a test changes."""
    return {}


@pytest.fixture
async def yard(tmp_path: Path, database_url: str, settings: dict[str, Any]) -> AsyncIterator[Yard]:
    given = {"disk_min_free": 0, "vod_children": 0, "rate_limit_upload": "off", "rate_limit_write": "off", **settings}
    async with place(tmp_path / "var", database_url, **given) as started:
        yield Yard(started)


@pytest.fixture
def s3_settings(s3: S3) -> dict[str, Any]:
    return {
        "s3_endpoint": s3.endpoint,
        "s3_bucket": s3.bucket,
        "s3_region": s3.region,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
    }
