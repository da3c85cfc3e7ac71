"""`python -m tests.servers.watched`: the server on asyncio's own loop, saying which callback took too long.

The time is the loop thread's processor time: a callback that other programs interrupted is not blamed for it, and none
of what asyncio's debugger adds is counted. One line a callback: `held 34.1 ms: <what>`.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

MOST = 0.020

_run = asyncio.Handle._run


def _watched(self: asyncio.Handle) -> None:
    what = repr(self._callback)
    started = time.thread_time()
    _run(self)
    took = time.thread_time() - started
    if took > MOST:
        sys.stdout.write(f"held {took * 1000:.1f} ms: {what} then {self!r}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.Handle._run = _watched  # type: ignore[method-assign]
    uvloop.run = asyncio.run
    from server.__main__ import main

    main()
