"""Doing the jobs. A worker owns one connection and the tasks of the jobs it runs, from `start` to `close`.

A job that fails is tried again after a pause that doubles; one that fails too often stays in the table `pgqueuer` with
status `failed`, its errors in `pgqueuer_log`. A job whose worker died is taken up by another once its heartbeat is
older than `heartbeat`. So a job may run more than once: handlers must bear that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.core.executors import AbstractEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.core.qm import QueueManager
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Context, Job, Schedule
from pgqueuer.queries import Queries

from storage.jobs.queue import Jobs

_log = logging.getLogger(__name__)

Handler = Callable[[bytes], Awaitable[None]]
GivenUp = Callable[[bytes, BaseException], Awaitable[None]]
"""Told that a job has failed for good: its payload, and what its last attempt raised."""

_LONGEST_PAUSE = timedelta(minutes=10)
_RECONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a job of one name is done. retries: attempts after the first; seconds: longest one may take."""

    name: str
    handler: Handler
    retries: int
    pause: timedelta
    seconds: float
    at_once: int
    given_up: GivenUp | None


class Hopeless(Exception):
    """What a handler raises when another attempt cannot help: the job has failed for good. The text tells why."""


class Worker:
    """at_once: jobs under way in this process; heartbeat: a job whose worker was silent this long is run by another;
    look: how often a worker with nothing to do looks for jobs that nobody announces, which are those to be tried again.
    """

    def __init__(
        self,
        dsn: str,
        *,
        at_once: int = 20,
        heartbeat: timedelta = timedelta(seconds=30),
        look: timedelta = timedelta(seconds=5),
    ) -> None:
        self._dsn = dsn
        self._at_once = at_once
        self._heartbeat = heartbeat
        self._look = look
        self._kinds: dict[str, _Kind] = {}
        self._schedules: dict[str, str] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._shutdown = asyncio.Event()
        self._stopping = False
        self._connected = False
        self._done = 0
        self._failed = 0

    def register(
        self,
        name: str,
        handler: Handler,
        *,
        retries: int = 8,
        pause: timedelta = timedelta(seconds=2),
        seconds: float = 600.0,
        at_once: int = 0,
        given_up: GivenUp | None = None,
    ) -> None:
        """Have this worker do jobs of that name. Before `start`.

        retries: how often a failed one is tried again, first after `pause`, then after twice as long each time, 10 min
        at most. seconds: one attempt may take this long. at_once: over all workers together (0: no such limit).
        given_up: called after the last attempt has failed, before the job counts as failed.
        """
        if name in self._kinds:
            raise ValueError(f"there is a handler for {name} already")
        self._kinds[name] = _Kind(name, handler, retries, pause, seconds, at_once, given_up)

    def every(self, name: str, cron: str) -> None:
        """Enqueue the job `name`, with an empty payload, at the times of a cron line ("*/5 * * * *", UTC): one job each
        time however many workers there are, and none while the last is still waiting or running. Before `start`."""
        if name not in self._kinds:
            raise ValueError(f"there is no handler for {name}")
        self._schedules[name] = cron

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="jobs-worker")

    async def close(self, within: float = 10.0) -> None:
        """Take no more jobs and let those under way end; after `within` s they are stopped and go back to the queue."""
        if self._task is None:
            return
        self._stopping = True
        self._shutdown.set()
        done, _ = await asyncio.wait({self._task}, timeout=within)
        if not done:
            _log.warning("%d jobs did not end in time and go back to the queue", len(self._running))
            for task in self._running:
                task.cancel()
            await asyncio.wait({self._task}, timeout=5)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def describe(self) -> dict[str, object]:
        return {
            "connected": self._connected,
            "running": len(self._running),
            "done": self._done,
            "failed": self._failed,
            "names": sorted(self._kinds),
        }

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._work()
            except Exception as error:
                if self._stopping:
                    break
                _log.warning("the worker lost PostgreSQL and connects again: %s", error or type(error).__name__)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._shutdown.wait(), _RECONNECT_SECONDS)

    async def _work(self) -> None:
        """On one connection, until the worker is told to stop or the connection fails."""
        connection = await asyncpg.connect(
            self._dsn,
            timeout=10,
            command_timeout=60,
            server_settings={"application_name": "social-flow jobs", "timezone": "UTC"},
        )
        try:
            queries = Queries(AsyncpgDriver(connection))
            jobs = QueueManager(queries)
            for kind in self._kinds.values():
                jobs.register_executor(kind.name, _Executor(_parameters(kind), self, kind))
            # The same for both managers, so that one failing ends the other.
            stop = jobs.shutdown
            await _forget_old_times(connection, self._schedules)
            tasks = [asyncio.create_task(self._jobs(jobs))]
            if self._schedules:
                tasks.append(asyncio.create_task(self._scheduler(queries, stop).run()))
            tasks.append(asyncio.create_task(self._tell(stop)))
            self._connected = True
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop.set()
                tasks.pop().cancel()
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
        finally:
            self._connected = False
            await _close(connection)

    async def _jobs(self, jobs: QueueManager) -> None:
        await jobs.run(
            batch_size=max(1, self._at_once // 2),
            max_concurrent_tasks=max(2, self._at_once),
            dequeue_timeout=self._look,
            heartbeat_timeout=self._heartbeat,
            # A connection that no longer hears is replaced.
            shutdown_on_listener_failure=True,
        )

    def _scheduler(self, queries: Queries, stop: asyncio.Event) -> SchedulerManager:
        scheduler = SchedulerManager(queries)
        scheduler.shutdown = stop

        async def due(schedule: Schedule) -> None:
            name = str(schedule.entrypoint)
            # Not on the shared connection: the queue's own statements run there.
            own = await asyncpg.connect(self._dsn, timeout=10)
            try:
                await Jobs().enqueue(own, name, dedupe=f"every:{name}")
            finally:
                await own.close()

        for name, cron in self._schedules.items():
            scheduler.schedule(name, cron)(due)
        return scheduler

    async def _tell(self, stop: asyncio.Event) -> None:
        await self._shutdown.wait()
        stop.set()
        await asyncio.Event().wait()

    async def do(self, kind: _Kind, job: Job) -> None:
        """One attempt; turns a failure into another attempt while there are some left."""
        task = asyncio.ensure_future(_attempt(kind, job.payload or b""))
        self._running.add(task)
        try:
            await asyncio.wait({task})
        finally:
            self._running.discard(task)
            if not task.done():
                task.cancel()
        if task.cancelled():
            raise RetryRequested(timedelta(0), "the worker stopped")
        error = task.exception()
        if error is None:
            self._done += 1
            return
        if job.attempts < kind.retries and not isinstance(error, Hopeless):
            pause = min(kind.pause * 2 ** min(job.attempts, 20), _LONGEST_PAUSE)
            _log.warning(
                "job %s (%s) failed, attempt %d, again in %.0f s: %s",
                *(job.id, kind.name, job.attempts + 1, pause.total_seconds(), error or type(error).__name__),
            )
            raise RetryRequested(pause, str(error) or type(error).__name__) from error
        self._failed += 1
        _log.error(
            "job %s (%s) failed for good after %d attempts: %s",
            *(job.id, kind.name, job.attempts + 1, error or type(error).__name__),
        )
        if kind.given_up is not None:
            await kind.given_up(job.payload or b"", error)
        raise error


class _Executor(AbstractEntrypointExecutor):
    """Hands PgQueuer's job to the worker."""

    def __init__(self, parameters: EntrypointExecutorParameters, worker: Worker, kind: _Kind) -> None:
        super().__init__(parameters)
        self._worker = worker
        self._kind = kind

    async def execute(self, job: Job, context: Context) -> None:
        await self._worker.do(self._kind, job)


def _parameters(kind: _Kind) -> EntrypointExecutorParameters:
    async def unused(job: Job) -> None:
        raise NotImplementedError

    return EntrypointExecutorParameters(concurrency_limit=kind.at_once, func=unused, on_failure="hold")


async def _attempt(kind: _Kind, payload: bytes) -> None:
    try:
        async with asyncio.timeout(kind.seconds):
            await kind.handler(payload)
    except TimeoutError as error:
        raise TimeoutError(f"{kind.name} timed out (it may take {kind.seconds:.0f} s)") from error


async def _forget_old_times(connection: asyncpg.Connection[asyncpg.Record], schedules: dict[str, str]) -> None:
    """A schedule whose times changed with a release must not be kept under the old ones too."""
    for name, cron in schedules.items():
        await connection.execute(
            "DELETE FROM pgqueuer_schedules WHERE entrypoint = $1 AND expression <> $2", name, " ".join(cron.split())
        )


async def _close(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    try:
        await connection.close(timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
