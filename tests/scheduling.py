"""The encoder SVT-AV1 gives its process real-time priority when it runs as root, and keeps it: everything that a test
starts later inherits it, and on a small machine nothing else runs any more. So whoever encodes AV1 takes it back."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def take_back_realtime() -> None:
    """Every thread of this process has the ordinary policy again."""
    if not hasattr(os, "sched_setscheduler"):
        return
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(int(thread.name)) != os.SCHED_OTHER:
                os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))
