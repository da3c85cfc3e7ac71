"""A child that is gone when it is needed: what its pipe says of it, and who takes its place."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from media.transcode.child import Child, ChildFailed
from media.transcode.thumbnail import Thumbnailer
from tests.media.transcode.test_thumbnail import key_frame


async def test_a_child_killed_while_idle_is_replaced_without_a_failure() -> None:
    thumbnailer = Thumbnailer()
    try:
        frame = key_frame()
        assert await thumbnailer.jpeg(*frame)
        process = thumbnailer._child._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        async with asyncio.timeout(30):
            await process.wait()
        assert await thumbnailer.jpeg(*frame)
        described = thumbnailer.describe()
        assert described["pid"] != process.pid
        assert described["failures"] == 0
    finally:
        await thumbnailer.close()


async def test_a_pipe_that_is_closed_already_costs_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop says so with a RuntimeError."""
    monkeypatch.setattr("media.transcode.child.BACKOFF_SECONDS", (0.0,))

    class Closed:
        def write(self, data: bytes) -> None:
            raise RuntimeError("unable to perform operation on <WriteUnixTransport closed=True>; the handler is closed")

    async def wait() -> int:
        return -9

    child = Child("media.transcode.thumbnail")
    child._process = SimpleNamespace(  # type: ignore[assignment]
        pid=1, returncode=None, stdin=Closed(), stdout=object(), kill=lambda: None, wait=wait
    )
    with pytest.raises(ChildFailed, match="handler is closed"):
        await child.ask(b"x")
    assert child.describe()["pid"] is None
