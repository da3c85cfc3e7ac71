"""Clients of others: tuspy."""

from __future__ import annotations

import asyncio
import io

from tusclient.client import TusClient
from tusclient.uploader import Uploader

from tests.server.streaming.uploads.conftest import MEBI, PATH, Yard, film


async def test_tuspy(yard: Yard) -> None:
    """In chunks of 5 MB with checksums, as the whole of a second client goes on with what a first began."""
    ana, data = await yard.person("ana"), film(12 * MEBI)
    client = TusClient(str(yard.place.client.make_url(PATH)), headers={"Authorization": f"Bearer {ana.token}"})

    def begin() -> str:
        uploader: Uploader = client.uploader(
            file_stream=io.BytesIO(data),
            chunk_size=5 * MEBI,
            metadata={"title": "By tuspy", "filename": "x.mp4"},
            upload_checksum=True,
        )
        uploader.upload_chunk()
        return str(uploader.url)

    def go_on(url: str) -> int:
        uploader = client.uploader(file_stream=io.BytesIO(data), chunk_size=5 * MEBI, url=url)
        offset = int(uploader.offset)
        uploader.upload()
        return offset

    url = await asyncio.to_thread(begin)
    assert await asyncio.to_thread(go_on, url) == 5 * MEBI
    video = await yard.video_of(url)
    await yard.arrived(video, data)
    assert (await ana.call("GET", f"/api/v1/videos/{video}"))["title"] == "By tuspy"
