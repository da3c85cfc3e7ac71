"""Which operating-system user PostgreSQL runs as.

PostgreSQL refuses to run as root. When we are root it runs as the owner of its files, else `postgres`, else `nobody`.
That user may be unable to reach a project in a private folder (a 0700 home): on Linux `setpriv` then gives the server
the one capability to pass through folders and read, and nothing else; where that is not to be had, words say so.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.errors import EmbeddedError

_NAMES = ("postgres", "_postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """uid and gid that the server's files belong to; `switch` is set when they are not our own."""

    uid: int
    gid: int
    switch: bool
    prefix: tuple[str, ...] = ()
    """Words before every command, when a plain change of user is not enough."""

    def give(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def spawn(self, command: Sequence[str], cwd: Path, log: int) -> subprocess.Popen[bytes]:
        """Start a program as this user, away from our terminal's signals, with its output in the file `log`."""
        switch = self.switch and not self.prefix
        return subprocess.Popen(
            [*self.prefix, *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=self.uid if switch else None,
            group=self.gid if switch else None,
            extra_groups=[] if switch else None,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        )


def hold(cluster: Path, account: Account) -> None:
    """Let the cluster belong to the account that serves it, closed to all others. Raises EmbeddedError.

    A copy that was made as root (`cp -r`) has lost its owner and perhaps its mode; PostgreSQL would only refuse it.
    """
    marks = [cluster, *(cluster / name for name in ("PG_VERSION", "postgresql.conf", "global", "global/pg_control"))]
    owners = {path.lstat().st_uid for path in marks if path.exists()}
    if owners - {account.uid}:
        if not account.switch:
            raise EmbeddedError(
                f"the files in {cluster} belong to another user than the one this runs as ({_name(account.uid)}): "
                f"type `sudo chown -R {_name(account.uid)} {cluster.parent}`, or start as their owner"
            )
        for path in (cluster, *cluster.rglob("*")):
            # a link's own owner: what it leads to is not ours to give away
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
    if stat.S_IMODE(cluster.stat().st_mode) & 0o077:
        cluster.chmod(0o700)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def choose(cluster: Path, must_reach: Sequence[Path]) -> Account:
    """The account for this cluster; `must_reach` are folders the server has to get to. Raises EmbeddedError."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    uid, gid = _unprivileged(cluster)
    closed = next((folder for path in must_reach if (folder := _closed_to(path, uid, gid))), None)
    if closed is None:
        return Account(uid, gid, switch=True)
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    name = _name(uid)
    if setpriv is not None:
        prefix = (
            setpriv,
            f"--reuid={uid}",
            f"--regid={gid}",
            "--clear-groups",
            "--inh-caps=-all,+dac_read_search",
            "--ambient-caps=-all,+dac_read_search",
            "--bounding-set=-all,+dac_read_search",
            # Without this bit access(2), with which PostgreSQL looks for its own programs, ignores the capability.
            "--securebits=+no_setuid_fixup",
            "--",
        )
        trials = [
            subprocess.run([*prefix, "test", "-x", str(folder)], capture_output=True, check=False)
            for folder in must_reach
        ]
        if not any(trial.returncode for trial in trials):
            return Account(uid, gid, switch=True, prefix=prefix)
    raise EmbeddedError(
        f"PostgreSQL cannot run as root, and the user {name} that it would run as cannot pass through {closed}: "
        f"run as an ordinary user, put the project and DATA_DIR elsewhere, let others pass (chmod o+x {closed}), "
        "or set DATABASE_URL"
    )


def _unprivileged(cluster: Path) -> tuple[int, int]:
    if cluster.exists():
        owner = cluster.stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    for name in _NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise EmbeddedError(
        f"PostgreSQL cannot run as root, and there is no user called {' or '.join(_NAMES)}: "
        "add one, or set DATABASE_URL"
    )


def _closed_to(path: Path, uid: int, gid: int) -> Path | None:
    """The first folder on the way to `path` that this user cannot pass through."""
    for folder in (*reversed(path.resolve().parents), path.resolve()):
        if not folder.exists():
            return None
        status = folder.stat()
        bit = stat.S_IXUSR if status.st_uid == uid else stat.S_IXGRP if status.st_gid == gid else stat.S_IXOTH
        if not status.st_mode & bit:
            return folder
    return None
