"""A PostgreSQL that an earlier process left running when it was killed: found by postmaster.pid and ended.

It is ended, not taken over: then the server is always our own child, with this release's options.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from storage.embedded.errors import EmbeddedError

_log = logging.getLogger(__name__)


def end_orphan(cluster: Path) -> None:
    """End the server that postmaster.pid names, if it really is one, and clear the file. Blocks; raises EmbeddedError.

    The caller holds our lock on the data folder, so nobody of ours is using that server.
    """
    pid_file = cluster / "postmaster.pid"
    pid = _pid(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return
    if not _is_postgres_of(pid, cluster):
        # The number was given to another program since: PostgreSQL itself would refuse to start.
        pid_file.unlink(missing_ok=True)
        return
    _log.warning("ending the embedded PostgreSQL (process %d) that an earlier process left running", pid)
    for sign, seconds in ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            break
        except PermissionError:
            raise EmbeddedError(
                f"a PostgreSQL that another user started (process {pid}) is using {cluster.parent}: stop it first"
            ) from None
        if _gone(pid, cluster, seconds):
            break
    else:
        raise EmbeddedError(f"an earlier PostgreSQL (process {pid}) in {cluster.parent} does not stop: end it by hand")
    pid_file.unlink(missing_ok=True)


def _pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _gone(pid: int, cluster: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not _is_postgres_of(pid, cluster):
            return True
        time.sleep(0.005)
    return False


def _is_postgres_of(pid: int, cluster: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
        listing = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
        command = listing.stdout
    except ProcessLookupError:
        return False
    # A zombie has an empty command line: it holds nothing any more.
    return b"postgres" in command and os.fsencode(str(cluster)) in command
