"""The folder of PostgreSQL's socket: private to its user, and short enough for the operating system.

A socket's path may have 107 bytes on Linux and 103 on macOS. Under a deep data folder the socket therefore lies in a
private folder of the system's temporary one, to which `run` in the data folder points; the pointer is how the next
start finds and removes what a killed process left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from storage.embedded.account import Account

PORT = 5432
"""Names the socket file only: nothing listens on a network port."""
_LONGEST = 103


def make(data_dir: Path, account: Account) -> Path:
    """A fresh 0700 folder for the socket; whatever an earlier start left is gone."""
    run = data_dir / "run"
    discard(data_dir)
    if fits(run):
        run.mkdir(mode=0o700)
        account.give(run)
        return run
    elsewhere = Path(tempfile.mkdtemp(prefix="pg-", dir=_short_temporary()))
    account.give(elsewhere)
    run.symlink_to(elsewhere)
    return elsewhere


def discard(data_dir: Path) -> None:
    run = data_dir / "run"
    if run.is_symlink():
        elsewhere = Path(os.readlink(run))
        with contextlib.suppress(OSError):
            # Only what we made: a folder of that name, closed to others.
            if elsewhere.name.startswith("pg-") and stat.S_IMODE(elsewhere.lstat().st_mode) == 0o700:
                shutil.rmtree(elsewhere, ignore_errors=True)
        run.unlink()
    else:
        shutil.rmtree(run, ignore_errors=True)


def fits(folder: Path) -> bool:
    # asyncpg reads a comma as the start of a second host.
    return len(os.fsencode(folder)) + len(f"/.s.PGSQL.{PORT}.lock") <= _LONGEST and "," not in str(folder)


def _short_temporary() -> str:
    given = tempfile.gettempdir()
    return given if fits(Path(given) / "pg-12345678") else "/tmp"
