"""Where closed segments go. Declared here because the package asks for it; storage plugs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Shelf(Protocol):
    """The files of one broadcast and its journal. Names are those of the URLs; a name is written once."""

    def add(self, files: Mapping[str, Sequence[bytes]], entry: bytes) -> None:
        """Closed files (name -> chunks) and one journal line (JSON, no newline). Returns at once and never raises."""
        ...

    async def read(self, name: str) -> bytes | None:
        """A file, from what is being written, the spool or the store; None when there is none."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """These files left the window and are not recorded; they are gone eventually."""
        ...

    async def journal(self) -> bytes:
        """All lines so far, each ended by a newline; b"" when there are none."""
        ...

    async def flush(self) -> None:
        """What was added so far survives a kill -9 once this returns."""
        ...

    def given_up(self) -> Sequence[tuple[Sequence[str], bytes]]:
        """What an `add` could not keep since this was last asked: its names and its line. A full spool is known at
        once, a full disk only when it was tried."""
        ...

    @property
    def lost(self) -> int:
        """How many files were given up because the spool or the disk was full."""
        ...
