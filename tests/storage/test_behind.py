"""Bytes that a thread works on behind whoever brings them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from storage.objects import Behind
from tests.support import eventually


class Work:
    """Waits at a gate, once it is closed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.took: list[list[bytes]] = []
        self.failure: Exception | None = None

    def __call__(self, blocks: Sequence[bytes]) -> None:
        self.took.append(list(blocks))
        assert self.gate.wait(60)
        if self.failure is not None:
            raise self.failure


async def test_what_comes_meanwhile_is_taken_in_one_go_and_in_order() -> None:
    work = Work()
    behind = Behind(work, most=100)
    work.gate.clear()
    for n in range(10):
        await behind.put(b"%d" % n)
    await eventually(lambda: work.took == [[b"0"]])
    work.gate.set()
    await behind.done()
    assert work.took == [[b"0"], [b"%d" % n for n in range(1, 10)]]
    await behind.close()


async def test_no_more_waits_than_may() -> None:
    work = Work()
    behind = Behind(work, most=10)
    work.gate.clear()
    await behind.put(b"x" * 4)  # at work
    await behind.put(b"x" * 9)  # waits
    brings = asyncio.create_task(behind.put(b"x"))
    await eventually(lambda: len(work.took) == 1)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not brings.done()
    work.gate.set()
    await brings
    await behind.done()
    assert b"".join(b"".join(blocks) for blocks in work.took) == b"x" * 14
    await behind.close()


async def test_a_failure_is_told_to_whoever_comes_next_and_nothing_more_is_done() -> None:
    work = Work()
    behind = Behind(work)
    work.failure = OSError("full")
    work.gate.clear()
    await behind.put(b"a")
    await behind.put(b"b")
    work.gate.set()
    with pytest.raises(OSError, match="full"):
        await behind.done()
    work.failure = None
    with pytest.raises(OSError, match="full"):
        await behind.put(b"c")
    await behind.close()
    assert work.took == [[b"a"]]


async def test_closed_it_has_let_go_of_the_thread_also_when_who_waited_was_cancelled() -> None:
    work = Work()
    behind = Behind(work, most=1)
    work.gate.clear()
    await behind.put(b"a")
    brings = asyncio.create_task(behind.put(b"bb"))
    await eventually(lambda: work.took == [[b"a"]])
    brings.cancel()
    await asyncio.gather(brings, return_exceptions=True)
    closes = asyncio.create_task(behind.close())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not closes.done()
    work.gate.set()
    await closes
    assert work.took == [[b"a"]]
