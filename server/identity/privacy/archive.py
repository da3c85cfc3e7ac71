"""A ZIP that is stored while it is written: pieces of one size, so that neither memory nor disk ever holds it whole.

The pieces in a row are the file. An Archive lives for one attempt at making it.
"""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from server.kit.personal import Item

Store = Callable[[int, bytes], Awaitable[None]]


class _Sink(io.RawIOBase):
    """Where the ZIP is written to: what waits to be stored. It cannot be sought, so sizes follow the files."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.waiting += data
        return len(data)


class Archive:
    """store: keeps the piece of a number, counted from 0."""

    def __init__(self, store: Store, piece_bytes: int, at: datetime) -> None:
        self._store = store
        self._piece_bytes = piece_bytes
        self._at = at.timetuple()[:6]
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._names: set[str] = set()
        self.pieces = 0
        self.bytes = 0

    async def add(self, item: Item) -> None:
        """The whole of an item. Raises what its content raises; the archive is then of no use."""
        if item.name in self._names:
            raise ValueError(f"{item.name} is in the archive already")
        self._names.add(item.name)
        info = zipfile.ZipInfo(item.name, self._at)
        info.compress_type = zipfile.ZIP_STORED if item.packed else zipfile.ZIP_DEFLATED
        info.external_attr = 0o600 << 16
        entry = self._zip.open(info, "w", force_zip64=True)
        try:
            async for data in item.content:
                await asyncio.to_thread(entry.write, data)
                await self._drain(self._piece_bytes)
        finally:
            await asyncio.to_thread(entry.close)

    async def close(self) -> None:
        """Write what tells where each file is, and store the last piece."""
        await asyncio.to_thread(self._zip.close)
        await self._drain(self._piece_bytes)
        await self._drain(1)

    def abandon(self) -> None:
        """It will not be finished: let go of what waits."""
        self._zip.close()
        self._sink.waiting.clear()

    async def _drain(self, least: int) -> None:
        waiting = self._sink.waiting
        while len(waiting) >= least:
            piece = bytes(waiting[: self._piece_bytes])
            await self._store(self.pieces, piece)
            del waiting[: len(piece)]
            self.pieces += 1
            self.bytes += len(piece)
