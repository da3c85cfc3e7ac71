"""What a child that decodes untrusted media does of its own: limits and messages. Loads next to nothing: children start
often, and an event loop alone would cost each of them half of its start."""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from collections.abc import Sequence

MEMORY_BYTES = 1 << 30
NICENESS = 10
LENGTH = struct.Struct("!I")
"""Before every message, on both ways."""


def limit_child(niceness: int = NICENESS, memory: int = MEMORY_BYTES, *, devices: bool = False) -> None:
    """Called in the child before it decodes anything: memory, no core, no file to write, a lower priority. devices: it
    uses one whose driver reserves far more addresses than it uses memory: then data is what is limited."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(ValueError, OSError):
        # macOS refuses RLIMIT_AS; the request's time limit is what is left there
        resource.setrlimit(resource.RLIMIT_DATA if devices else resource.RLIMIT_AS, (memory, memory))
    os.nice(niceness)


def seal_child() -> None:
    """Called in the child once all that it needs is loaded: from here on it opens no file and no socket."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))


def frames(messages: Sequence[bytes]) -> bytes:
    """Messages as they go over the pipe."""
    return b"".join([LENGTH.pack(len(message)) + message for message in messages])
