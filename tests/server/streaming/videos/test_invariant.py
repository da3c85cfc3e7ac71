"""Store and database compared, with faults of both kinds planted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from server.kit.clock import now
from server.streaming.videos.invariant import CHECK_JOB, Invariant
from storage.objects.deletions import Deletions
from tests.server.streaming.videos.conftest import Studio
from tests.support import eventually


def _id_of(age: timedelta) -> UUID:
    """A UUIDv7 of then."""
    moment = int((now() - age).timestamp() * 1000)
    return UUID(int=moment << 80 | 7 << 76 | 2 << 62 | uuid4().int & 0xFFFF_FFFF)


async def test_what_is_too_much_and_what_lacks(studio: Studio, clip: Callable[[float], Path]) -> None:
    ada = await studio.person("ada")
    id = await studio.bring(ada, clip(2))
    await studio.until(ada, id, "ready")
    await studio.place.idle()
    objects = studio.objects
    invariant = Invariant(studio.wiring.database, objects, Deletions(objects))
    sound = await invariant.check()
    assert (sound.orphans, sound.missing, sound.examples, sound.videos) == (0, 0, [], 1)

    old, young, other = _id_of(timedelta(days=3)), _id_of(timedelta(minutes=3)), _id_of(timedelta(days=3))
    for key in (
        f"videos/{old}/v-240p-0.m4s",
        f"videos/{old}/below/x",
        f"videos/{young}/source",
        f"live/{other}/v-0.m4s",
    ):
        await objects.put(key, b"12345", "video/mp4")
    await objects.put(f"videos/{id}/v-240pr000000-7.m4s", b"12345", "video/mp4")
    await objects.delete([f"videos/{id}/v-360p-0.m4s", f"videos/{id}/thumb-0.jpg"])

    told: list[str] = []
    found = await invariant.check(tell=told.append)
    assert (found.orphans, found.orphan_bytes, found.missing, found.mended) == (4, 20, 2, 0)
    assert f"videos/{id}/v-360p-0.m4s: missing" in told
    assert f"videos/{id}/thumb-0.jpg: missing" in told
    assert await objects.get(f"videos/{old}/v-240p-0.m4s") == b"12345", "nothing is changed unless it is asked for"

    # of a file that was replaced, once nobody watches it any more
    await studio.place.sql("update video_events set at = at - interval '2 days'")
    mended = await invariant.check(mend=True)
    assert (mended.orphans, mended.mended) == (5, 4)
    left = {key async for key, _ in objects.list("videos/")} | {key async for key, _ in objects.list("live/")}
    assert {key for key in left if str(id) not in key} == {f"videos/{young}/source"}
    assert f"videos/{id}/v-240pr000000-7.m4s" not in left
    assert f"videos/{id}/v-240p-0.m4s" in left
    again = await invariant.check()
    assert (again.orphans, again.missing) == (1, 2)

    # the job tells the same in /metrics
    async with studio.wiring.database.transaction() as conn:
        await studio.wiring.jobs.enqueue(conn, CHECK_JOB)

    async def told_in_metrics() -> bool:
        await studio.wiring.store_report.look()
        text = (await studio.place.call("GET", "/metrics")).decode()
        return 'store_faults{kind="missing"} 2.0' in text and 'store_faults{kind="orphans"} 1.0' in text

    await eventually(told_in_metrics, what="the figures of the check")
