"""One broadcast's files in the spool: what media/package calls a Shelf."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from storage.objects.store import BadKey, check_key
from storage.objects.waiting import GivenUp

_log = logging.getLogger(__name__)


class _Spool(Protocol):
    def add(self, prefix: str, files: Mapping[str, Sequence[bytes]], entry: bytes, base: bytes) -> None: ...
    def remove(self, prefix: str, names: Sequence[str]) -> None: ...
    async def read(self, key: str) -> bytes | None: ...
    async def journal(self, prefix: str) -> tuple[bytes, bool]: ...
    async def flush(self) -> None: ...
    async def abandon(self, prefix: str) -> None: ...
    def given_up(self, prefix: str) -> list[GivenUp]: ...
    def lost_of(self, prefix: str) -> int: ...
    def send_journal(self, prefix: str, *, closing: bool) -> None: ...


class SpoolShelf:
    """Files under one prefix, and their journal.

    To go on with a journal that another node began, read it with `journal` before the first `add`.
    """

    def __init__(self, spool: _Spool, prefix: str) -> None:
        self._spool = spool
        self.prefix = prefix
        self._base = b""
        self._refused = 0
        self._abandoned = False

    def add(self, files: Mapping[str, Sequence[bytes]], entry: bytes) -> None:
        """Closed files (name to chunks) and a line of the journal (no newline in it; b"": none). Returns at once.

        Never raises. The chunks must not change afterwards. When the spool or the disk is full the files and their line
        are given up together, `lost` grows and `given_up` names them: a line never speaks of a file that is not there.
        """
        if self._abandoned:
            return
        try:
            for name in files:
                check_key(f"{self.prefix}/{name}")
                if "/" in name:
                    raise BadKey(f"a name has no slash: {name!r}")
            if b"\n" in entry:
                raise BadKey("a line of the journal has no newline")
        except BadKey as error:
            self._refused += len(files)
            _log.error("%s: not written: %s", self.prefix, error)
            return
        base, self._base = self._base, b""
        self._spool.add(self.prefix, files, entry, base)

    async def read(self, name: str) -> bytes | None:
        """From what is being written, the spool, or the store; None when there is none.

        Raises StoreError when it is the store that must tell and cannot.
        """
        try:
            check_key(f"{self.prefix}/{name}")
        except BadKey:
            return None
        return await self._spool.read(f"{self.prefix}/{name}")

    def remove(self, names: Sequence[str]) -> None:
        """These have no further use; the store follows within half a minute, or when it is back."""
        if self._abandoned:
            return
        self._spool.remove(self.prefix, names)

    async def journal(self) -> bytes:
        """All lines so far, b"" when there are none. Raises StoreError when the store cannot tell."""
        data, here = await self._spool.journal(self.prefix)
        self._base = b"" if here else data
        return data

    async def flush(self) -> None:
        """What was added so far survives a kill -9; the store gets the journal at its next chance."""
        await self._spool.flush()
        self._spool.send_journal(self.prefix, closing=False)

    async def close(self) -> None:
        """Nothing more will be added. What waits still goes to the store; after that nothing of it stays here."""
        await self._spool.flush()
        self._spool.send_journal(self.prefix, closing=True)

    async def abandon(self) -> None:
        """Another node writes here from now on: whatever is still added is dropped, what waits is forgotten."""
        self._abandoned = True
        await self._spool.abandon(self.prefix)

    def given_up(self) -> list[GivenUp]:
        """What adds could not keep since this was last asked: the names of each, and its line of the journal."""
        return self._spool.given_up(self.prefix)

    @property
    def lost(self) -> int:
        """Files given up so far."""
        return self._refused + self._spool.lost_of(self.prefix)
