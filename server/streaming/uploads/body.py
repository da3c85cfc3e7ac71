"""The body of an upload as it comes: in blocks, and not slower than it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from aiohttp import StreamReader

from server.streaming.uploads.errors import BrokenBody, TooSlow

T = TypeVar("T")

BLOCK = 256 * 1024
_PATIENCE = 1.0
"""So long a block may gather, s."""


class Pace:
    """Counts what comes against the time that is spent waiting for it: a slow disk is not the client's fault.

    least: bytes/s; window: s over which they are counted, and the longest silence.
    """

    def __init__(self, least: float, window: float) -> None:
        self._needed = least * window
        self._window = window
        self._waited = 0.0
        self._got = 0

    async def read(self, reading: Awaitable[T]) -> T:
        """What comes of reading from the client. Raises TooSlow, BrokenBody."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._window):
                found = await reading
        except TimeoutError:
            raise self._slow() from None
        except Exception as error:  # aiohttp has many for chunks, forms and connections that break off
            raise BrokenBody(f"The body could not be read: {type(error).__name__}.") from error
        self._waited += clock() - began
        self._got += len(found) if isinstance(found, bytes) else 0
        if self._waited >= self._window:
            if self._got < self._needed:
                raise self._slow()
            self._waited, self._got = 0.0, 0
        return found

    def _slow(self) -> TooSlow:
        return TooSlow(
            f"Within {self._window:g} s at least {self._needed:.0f} bytes have to come. Begin again when the network is"
            " better."
        )


async def blocks(content: StreamReader, pace: Pace) -> AsyncIterator[bytes]:
    """The body in pieces of BLOCK bytes or more, as they were read: little ones are put together. What came before it
    breaks off is given first. Raises TooSlow, BrokenBody."""
    clock = asyncio.get_running_loop().time
    gathered: list[bytes] = []
    size, since = 0, clock()
    try:
        while data := await pace.read(content.readany()):
            gathered.append(data)
            size += len(data)
            if size >= BLOCK or clock() - since > _PATIENCE:
                yield data if len(gathered) == 1 else b"".join(gathered)
                gathered, size, since = [], 0, clock()
    except (TooSlow, BrokenBody):
        if gathered:
            yield b"".join(gathered)
        raise
    if gathered:
        yield b"".join(gathered)
