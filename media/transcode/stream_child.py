"""A child process that is fed without end: messages in over one pipe, messages out over another, as they come.

The parent never waits for it. What the child does not take in time stays in a bounded buffer; what does not fit there
is dropped and counted, and a child that takes nothing for a while is taken for hung and killed. One that died is
replaced after a back-off that grows while children keep failing; its owner then begins anew. Messages are
length-prefixed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Protocol

from media.transcode.child import BACKOFF_SECONDS, spawn
from media.transcode.inside import LENGTH

log = logging.getLogger(__name__)

MESSAGE_LIMIT = 8 << 20
HUNG_SECONDS = 5.0
ENDING_SECONDS = 1.0
SETTLED_SECONDS = 30.0
"""A child that lived this long had no failure of its start: the next one is not held back for those before."""


class Owner(Protocol):
    """Whom the child works for. Called on the loop; must not block. One that raises costs the child its life."""

    def on_child(self) -> None:
        """A child is there and knows nothing yet."""
        ...

    def on_message(self, message: bytes) -> None: ...

    def on_child_gone(self) -> None: ...


class StreamChild:
    """Runs `python -m module` from start() to close()."""

    def __init__(self, module: str, owner: Owner, *, buffer_bytes: int = 1 << 20) -> None:
        """buffer_bytes: most that waits in the parent for the child to take it."""
        self.dropped = 0
        self.restarts = 0
        self._module = module
        self._owner = owner
        self._most = buffer_bytes
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._full_since = 0.0

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def send(self, message: bytes) -> bool:
        """Hand it on; False when it was dropped, because there is no child or it does not keep up."""
        process = self._process
        if process is None or process.stdin is None:
            self.dropped += 1
            return False
        if process.stdin.transport.get_write_buffer_size() + len(message) > self._most:
            self.dropped += 1
            now = time.monotonic()
            self._full_since = self._full_since or now
            if now - self._full_since > HUNG_SECONDS:
                log.warning("the child %s takes nothing; it is replaced", self._module)
                self._process = None
                _kill(process)
            return False
        self._full_since = 0.0
        try:
            process.stdin.write(LENGTH.pack(len(message)) + message)
        except (OSError, RuntimeError):  # its end of the pipe is gone; RuntimeError is uvloop's word for it
            self.dropped += 1
            return False
        return True

    def describe(self) -> dict[str, object]:
        process = self._process
        return {"pid": process.pid if process else None, "restarts": self.restarts, "dropped": self.dropped}

    async def _run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._live()
            except (OSError, asyncio.IncompleteReadError, ValueError, RuntimeError) as error:
                log.warning("the child %s ended: %s", self._module, error or type(error).__name__)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("what the child %s said could not be used", self._module)
            failures = 1 if time.monotonic() - started > SETTLED_SECONDS else failures + 1
            self.restarts += 1
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])

    async def _live(self) -> None:
        """One child's life."""
        process = await spawn(self._module)
        self._process, self._full_since = process, 0.0
        assert process.stdout is not None
        ended = False
        try:
            self._owner.on_child()
            while True:
                (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                if length > MESSAGE_LIMIT:
                    raise ValueError("its message is too long")
                self._owner.on_message(await process.stdout.readexactly(length))
        except asyncio.IncompleteReadError:
            ended = True
            raise
        finally:
            self._process = None
            self._owner.on_child_gone()
            await asyncio.shield(_see_off(process, ended=ended))


async def _see_off(process: asyncio.subprocess.Process, *, ended: bool) -> None:
    """ended: it closed its pipe, so it is gone or about to be. (To kill what is dead already makes asyncio wonder.)"""
    if ended:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                await process.wait()
    if process.returncode is None:
        _kill(process)
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
