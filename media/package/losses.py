"""What the shelf gave up, told to the package that made it: segments become gaps, what all depends on is added again.

Owned by a LivePackage. A disk that is full says so late, so a loss is matched by name, never by when it was heard of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from media.package import journal
from media.package.journal import Head, Init, Lost

if TYPE_CHECKING:
    from media.package.live import LivePackage

_SEGMENT = re.compile(r"([va](?:-[a-z0-9]{1,12})?)-(\d+)\.m4s")


class Losses:
    def __init__(self, package: LivePackage) -> None:
        self._package = package

    def hear(self) -> bool:
        """Take note of what was given up since the last time; whether there was any.

        A segment's line is not written again: its number is missing from the journal, and so it is read as a gap. The
        newest number alone is, so that a journal which ends with losses tells what names were used. The head and
        configurations are offered again each time, until they are taken."""
        shelf = self._package.shelf
        given_up = shelf.given_up()
        newest = -1
        for names, entry in given_up:
            lost = {(found[1], int(found[2])) for name in names if (found := _SEGMENT.fullmatch(name))}
            for letter, msn in lost:
                if "-" in letter:
                    self._package.followers.lose(letter, msn)
            for msn in {msn for letter, msn in lost if "-" not in letter}:
                self._package.lose(msn)
                newest = max(newest, msn)
            for line in journal.read(entry):
                if isinstance(line, Head):
                    shelf.add({}, entry)
                elif isinstance(line, Init) and (body := self._package.init_bytes(line.name)) is not None:
                    shelf.add({line.name: [body]}, entry)
                elif isinstance(line, Lost):
                    newest = max(newest, line.msn)
        if newest >= 0:
            shelf.add({}, journal.encode(Lost(newest)))
        return bool(given_up)
