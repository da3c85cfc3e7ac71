"""What can go wrong with the embedded PostgreSQL, in words an operator can act on."""

from __future__ import annotations

from pathlib import Path

_KNOWN = (
    ("No space left on device", "the disk is full; free some space and start again"),
    ("Disk quota exceeded", "the disk quota is used up; free some space and start again"),
    ("could not locate a valid checkpoint record", "its files are damaged; restore a backup into that folder"),
    ("invalid primary checkpoint record", "its files are damaged; restore a backup into that folder"),
    ("database files are incompatible", "its files are damaged; restore a backup into that folder"),
    ("could not find pg_control", "its files are damaged (no pg_control); restore a backup into that folder"),
    ("incorrect checksum in control file", "its files are damaged (pg_control); restore a backup into that folder"),
    ("pg_control", "its files are damaged (pg_control); restore a backup into that folder"),
    ("PG_VERSION", "its files are damaged (PG_VERSION); restore a backup into that folder"),
    ("configuration file", "one of its configuration files cannot be read"),
    ("could not create shared memory segment", "the machine gives no shared memory; raise its limits"),
    ("could not map anonymous shared memory", "the machine has too little free memory"),
    ("Cannot allocate memory", "the machine has too little free memory"),
    ("Read-only file system", "the file system is read-only; set DATA_DIR to a folder that can be written"),
    ("ermission denied", "a file or folder may not be read or written by the user it runs as"),
)


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used. The text says why and what to do; it is for the operator."""


def explain(folder: Path, output: str) -> EmbeddedError:
    """Turn what initdb or postgres wrote last into an EmbeddedError; the raw last lines stay readable."""
    reason = next((words for sign, words in _KNOWN if sign in output), "it stopped while starting")
    last = "\n".join(f"    {line}" for line in output.strip().splitlines()[-5:])
    return EmbeddedError(
        f"the embedded PostgreSQL in {folder} does not start: {reason}" + (f"\n{last}" if last else "")
    )
