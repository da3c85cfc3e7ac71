"""Identifiers: UUID version 7 (RFC 9562, section 5.7), rising within a process.

The 12 bits after the version and the 62 after the variant are one counter of 74 bits that starts at a random value in
every millisecond (method 1 and 2 of section 6.2), so two ids of one process always sort in the order they were made.
"""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_COUNTER_BITS = 74
_STEP_BITS = 32  # within a millisecond the counter rises by a random step, so that ids cannot be counted


class IdSource:
    """Makes ids; owns the last one it gave. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._millisecond = 0
        self._counter = 0

    def next(self) -> UUID:
        millisecond = time.time_ns() // 1_000_000
        random = int.from_bytes(os.urandom(10), "big")
        with self._lock:
            if millisecond > self._millisecond:
                self._millisecond = millisecond
                self._counter = random >> 7  # 73 bits: the highest stays free, so that rising cannot overflow at once
            else:  # the same millisecond, or a clock that went back
                self._counter += 1 + (random & ((1 << _STEP_BITS) - 1))
                if self._counter >> _COUNTER_BITS:
                    self._millisecond += 1
                    self._counter = random >> 7
            millisecond, counter = self._millisecond, self._counter
        value = (millisecond & ((1 << 48) - 1)) << 80
        value |= 0x7 << 76 | (counter >> 62) << 64
        value |= 0b10 << 62 | (counter & ((1 << 62) - 1))
        return UUID(int=value)


_source = IdSource()
uuid7 = _source.next
os.register_at_fork(after_in_child=_source.__init__)  # type: ignore[misc]  # a child must not repeat its parent's ids
