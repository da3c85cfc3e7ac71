"""A child process that decodes untrusted media: one request at a time over pipes, with limits, replaced when it fails.

The parent sends a length-prefixed request and waits for a length-prefixed answer. A child that dies, hangs or grows
too large costs the request that did it; the next request starts a new child, after a back-off that grows while children
keep failing. A child that nobody used for a while is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time

from media.transcode.inside import LENGTH

log = logging.getLogger(__name__)

REQUEST_SECONDS = 5.0
REQUESTS_PER_CHILD = 1000
IDLE_SECONDS = 60.0
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ANSWER_LIMIT = 8 * 1024 * 1024


class ChildFailed(Exception):
    """The child died, hung, or said that it cannot decode this."""


async def spawn(module: str) -> asyncio.subprocess.Process:
    """`python -m module` with pipes, and of the environment only what it needs to start."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    )


class Child:
    """Runs `python -m module`. Requests are served one after another; callers wait their turn."""

    def __init__(self, module: str, *, seconds: float = REQUEST_SECONDS) -> None:
        """seconds: longest one request may take."""
        self._module = module
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._served = 0
        self._failures = 0
        self._not_before = 0.0
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes) -> bytes:
        """The child's answer. Raises ChildFailed, at once while it is backing off."""
        async with self._turn:
            if time.monotonic() < self._not_before:
                raise ChildFailed("the decoder is backing off after failures")
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._exchange(request)
            except (TimeoutError, OSError, asyncio.IncompleteReadError, ValueError, RuntimeError) as error:
                # RuntimeError: uvloop's word for a pipe whose other end is gone
                await self._end()
                self._failures += 1
                self._not_before = time.monotonic() + BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS) - 1)]
                raise ChildFailed(f"the decoder failed: {error or type(error).__name__}") from error
            self._failures = 0
            self._served += 1
            if self._served >= REQUESTS_PER_CHILD:
                await self._end()
            self._watch_idle()
            if not answer:
                raise ChildFailed("the decoder cannot decode this")
            return answer

    async def close(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        async with self._turn:
            await self._end()

    def describe(self) -> dict[str, object]:
        return {"pid": self._process.pid if self._process else None, "served": self._served, "failures": self._failures}

    async def _exchange(self, request: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:  # killed while it was idle: nobody's fault
            self._served = 0
            process = self._process = await spawn(self._module)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(LENGTH.pack(len(request)))
        process.stdin.write(request)
        await process.stdin.drain()
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        if length > ANSWER_LIMIT:
            raise ValueError("its answer is too long")
        return await process.stdout.readexactly(length)

    async def _end(self) -> None:
        process, self._process, self._served = self._process, None, 0
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    def _watch_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        # nothing awaits the end of an idle child: a kill is enough, and the next request sees the closed pipe's process
        if self._process is not None and not self._turn.locked():
            process, self._process, self._served = self._process, None, 0
            with contextlib.suppress(ProcessLookupError):
                process.kill()
