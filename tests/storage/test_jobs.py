"""Jobs: in the caller's transaction, once a key, again after a failure or a dead worker, on schedule once."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from storage.jobs import Hopeless, Jobs, Worker
from storage.postgres import Database
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
QUICK = timedelta(milliseconds=20)


class Seen:
    """A handler that remembers and does what it is told."""

    def __init__(self, failures: int = 0) -> None:
        self.payloads: list[bytes] = []
        self.failures = failures

    async def __call__(self, payload: bytes) -> None:
        self.payloads.append(payload)
        if len(self.payloads) <= self.failures:
            raise RuntimeError("not this time")


@pytest.fixture
async def worker(queue_url: str) -> AsyncIterator[Worker]:
    made = Worker(queue_url)
    yield made
    await made.close()


async def _rows(
    queue: Database, sql: str = "SELECT status::text, entrypoint, attempts FROM pgqueuer"
) -> list[tuple[object, ...]]:
    async with queue.acquire() as connection:
        return [tuple(row) for row in await connection.fetch(sql)]


async def test_done_after_the_commit(queue: Database, worker: Worker) -> None:
    seen = Seen()
    worker.register("a", seen)
    await worker.start()
    async with queue.transaction() as connection:
        assert await Jobs().enqueue(connection, "a", b"one")
        assert seen.payloads == []
    await eventually(lambda: seen.payloads == [b"one"])
    await eventually(lambda: _empty(queue))


async def _empty(queue: Database) -> bool:
    return await _rows(queue) == []


async def test_rolled_back_is_never_done(queue: Database, worker: Worker) -> None:
    seen = Seen()
    worker.register("a", seen)
    await worker.start()

    async def enqueue_and_fail() -> None:
        async with queue.transaction() as connection:
            await Jobs().enqueue(connection, "a", b"rolled back")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await enqueue_and_fail()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"committed")
    await eventually(lambda: seen.payloads)
    assert seen.payloads == [b"committed"]


async def test_a_struct_travels_as_json(queue: Database, worker: Worker) -> None:
    class Payload(msgspec.Struct):
        n: int

    seen = Seen()
    worker.register("a", seen)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", Payload(7))
    await eventually(lambda: seen.payloads == [b'{"n":7}'])


async def test_one_of_a_key_and_the_transaction_lives(queue: Database) -> None:
    async with queue.transaction() as connection:
        assert await Jobs().enqueue(connection, "a", b"1", dedupe="k")
        assert not await Jobs().enqueue(connection, "a", b"2", dedupe="k")
        assert await Jobs().enqueue(connection, "a", b"3", dedupe="other")
        assert await connection.fetchval("SELECT 1") == 1
    assert len(await _rows(queue)) == 2


async def test_two_transactions_with_one_key(queue: Database) -> None:
    """The second waits for the first to end and then adds nothing, or its own when the first was rolled back."""
    async with queue.acquire() as first, queue.acquire() as second:
        start = first.transaction()
        await start.start()
        assert await Jobs().enqueue(first, "a", b"1", dedupe="k")
        waiting = asyncio.create_task(Jobs().enqueue(second, "a", b"2", dedupe="k"))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        await start.rollback()
        assert await waiting
    assert len(await _rows(queue)) == 1


async def test_later(queue: Database, worker: Worker) -> None:
    seen = Seen()
    worker.register("a", seen)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"later", after=timedelta(hours=1))
        await Jobs().enqueue(connection, "a", b"now")
    await eventually(lambda: seen.payloads)
    assert seen.payloads == [b"now"]

    async def left() -> bool:
        return await _rows(queue, "SELECT execute_after > now() + interval '50 min' FROM pgqueuer") == [(True,)]

    await eventually(left)


async def test_a_failure_is_tried_again(queue: Database, worker: Worker) -> None:
    seen = Seen(failures=2)
    worker.register("a", seen, retries=3, pause=QUICK)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"x")
    await eventually(lambda: worker.describe()["done"] == 1)
    assert len(seen.payloads) == 3
    assert worker.describe()["failed"] == 0


async def test_a_failure_that_took_its_time_is_tried_again_soon(queue: Database, queue_url: str) -> None:
    """By then the worker has found nothing else to do and waits to be told, which nobody does about a second try."""
    seen, slow = Seen(failures=1), Worker(queue_url, look=timedelta(milliseconds=50))

    async def handler(payload: bytes) -> None:
        await asyncio.sleep(0.3)
        await seen(payload)

    slow.register("a", handler, retries=3, pause=QUICK)
    await slow.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"x")
    await eventually(lambda: slow.describe()["done"] == 1)
    await slow.close()


async def test_a_hopeless_failure_is_not_tried_again(queue: Database, worker: Worker) -> None:
    async def handler(payload: bytes) -> None:
        raise Hopeless("nobody lives there")

    worker.register("a", handler, retries=3, pause=QUICK)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"x")

    async def failed() -> bool:
        return await _rows(queue) == [("failed", "a", 0)]

    await eventually(failed)
    [(traceback,)] = await _rows(queue, "SELECT traceback::text FROM pgqueuer_log WHERE status = 'failed'")
    assert "nobody lives there" in str(traceback)


async def test_failed_for_good_stays_with_its_reason(queue: Database, worker: Worker) -> None:
    seen = Seen(failures=100)
    worker.register("a", seen, retries=2, pause=QUICK)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"x")

    async def failed() -> bool:
        return await _rows(queue) == [("failed", "a", 2)]

    await eventually(failed)
    assert len(seen.payloads) == 3
    [(traceback,)] = await _rows(queue, "SELECT traceback::text FROM pgqueuer_log WHERE status = 'failed'")
    assert "not this time" in str(traceback)


async def test_an_attempt_that_takes_too_long_fails(queue: Database, worker: Worker) -> None:
    async def forever(payload: bytes) -> None:
        await asyncio.Event().wait()

    worker.register("a", forever, retries=0, seconds=0.05)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a")

    async def failed() -> bool:
        return await _rows(queue) == [("failed", "a", 0)]

    await eventually(failed)


async def test_close_waits_for_what_is_under_way(queue: Database, queue_url: str) -> None:
    began, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(payload: bytes) -> None:
        began.set()
        await may_end.wait()
        ended.set()

    worker = Worker(queue_url)
    worker.register("a", slow)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a")
    await asyncio.wait_for(began.wait(), 60)
    closing = asyncio.create_task(worker.close())
    await asyncio.wait({closing}, timeout=0.1)
    assert not closing.done()
    may_end.set()
    await closing
    assert ended.is_set()
    assert await _rows(queue) == []


async def test_what_does_not_end_in_time_goes_back(queue: Database, queue_url: str) -> None:
    began = asyncio.Event()

    async def stuck(payload: bytes) -> None:
        began.set()
        await asyncio.Event().wait()

    worker = Worker(queue_url)
    worker.register("a", stuck)
    await worker.start()
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"again")
    await asyncio.wait_for(began.wait(), 60)
    await worker.close(within=0.05)
    assert [row[0] for row in await _rows(queue)] == ["queued"]
    seen = Seen()
    second = Worker(queue_url)
    second.register("a", seen)
    await second.start()
    await eventually(lambda: seen.payloads == [b"again"])
    await second.close()


async def test_a_killed_workers_job_runs_again(queue: Database, queue_url: str, tmp_path: Path) -> None:
    """kill -9 in the middle of a job: another worker runs it once the dead one's heartbeat is old."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _STUCK_WORKER, queue_url, str(tmp_path / "began")),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"survives")
    await eventually((tmp_path / "began").exists, within=60)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert [row[0] for row in await _rows(queue)] == ["picked"]
    seen = Seen()
    worker = Worker(queue_url, heartbeat=timedelta(seconds=1))
    worker.register("a", seen)
    await worker.start()
    async with queue.transaction() as connection:
        # Something else to do wakes the worker; a stale job alone is found at its next look.
        await connection.execute("SELECT pg_notify('ch_pgqueuer', '')")

    async def woken() -> bool:
        async with queue.transaction() as connection:
            await Jobs().enqueue(connection, "a", b"other")
        return b"survives" in seen.payloads

    await eventually(woken, within=60, every=0.2)
    await worker.close()


_STUCK_WORKER = """
import asyncio, pathlib, sys
from storage.jobs import Worker
async def stuck(payload):
    pathlib.Path(sys.argv[2]).touch()
    await asyncio.Event().wait()
async def main():
    worker = Worker(sys.argv[1])
    worker.register("a", stuck)
    await worker.start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_cut_connection_is_made_again(queue: Database, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.jobs.worker._RECONNECT_SECONDS", 0.05)
    seen = Seen()
    worker.register("a", seen)
    await worker.start()
    await eventually(lambda: worker.describe()["connected"])
    async with queue.acquire() as connection:
        cut = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'social-flow jobs'"
        )
        await eventually(lambda: connection.fetchval(cut))
    async with queue.transaction() as connection:
        await Jobs().enqueue(connection, "a", b"after")
    await eventually(lambda: seen.payloads == [b"after"], within=60)


async def test_on_schedule_by_one_worker_only(queue: Database, queue_url: str) -> None:
    """Two workers, a schedule of every second: each time gives one job."""
    seen = Seen()
    workers = [Worker(queue_url), Worker(queue_url)]
    for worker in workers:
        worker.register("tick", seen)
        worker.every("tick", "* * * * * *")
        await worker.start()
    await eventually(lambda: len(seen.payloads) >= 2, within=60)
    for worker in workers:
        await worker.close()
    fired = await _rows(queue, "SELECT count(*) FROM pgqueuer_log WHERE status = 'queued' AND entrypoint = 'tick'")
    assert await _rows(queue, "SELECT count(*) FROM pgqueuer_schedules") == [(1,)]
    [(seconds,)] = await _rows(
        queue, "SELECT count(DISTINCT date_trunc('second', created)) FROM pgqueuer_log WHERE status = 'queued'"
    )
    assert fired == [(seconds,)]
