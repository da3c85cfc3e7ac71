"""What a store of objects is: bytes under keys, whole or not at all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~=@+-]{0,199}")
_LONGEST_KEY = 800


class StoreError(Exception):
    """The store did not do it: it is away, full, or refuses. Trying again later is right; the text is for logs."""


class BadKey(ValueError):
    """Not a key: segments of A-Z a-z 0-9 _ . ~ = @ + - beginning with a letter, digit or _, between slashes."""


class ObjectStore(Protocol):
    """Objects by key. A read sees the whole of one write, never a mixture or a part of it.

    Every method may raise StoreError; BadKey for a malformed key.
    """

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def describe(self) -> dict[str, object]: ...

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store the bytes, over whatever the key had."""

    async def put_file(self, key: str, path: Path, content_type: str) -> None:
        """Store a file and have it: when this returns, `path` belongs to the store and may be gone."""

    async def get(self, key: str, start: int | None = None, end: int | None = None) -> bytes | None:
        """The bytes from `start` up to but not including `end`, cut to what there is; None without such an object."""

    async def size(self, key: str) -> int | None:
        """Bytes of the object; None when there is none."""

    async def copy(self, source: str, destination: str) -> bool:
        """Make one object the same as another, over whatever it was; the bytes do not come through here where the store
        can do it itself. Each is deleted by itself. False, and nothing done: there is no such source."""

    async def delete(self, keys: Collection[str]) -> None:
        """Remove these; one that is not there is no error."""

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every object whose key begins with `prefix` (not empty); returns how many."""

    def list(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Keys that begin with `prefix`, in order, with their sizes in bytes."""

    async def folders(self, prefix: str, after: str, most: int) -> Sequence[str]:
        """Names of what is between `prefix` (which ends in a slash) and the next slash of a key, each once, in order,
        those behind `after`; at most so many."""


@runtime_checkable
class LocalStore(Protocol):
    """A store on this machine, which a writing thread can use directly instead of through the event loop."""

    def place(self, key: str, path: Path) -> None:
        """Move a file in, by renaming. Raises OSError (EXDEV from another filesystem)."""

    def drop(self, key: str) -> None:
        """Remove an object if it is there. Raises OSError."""


def check_key(key: str) -> str:
    if len(key) > _LONGEST_KEY or not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise BadKey(f"not a key: {key[:100]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """A key, or a key and a slash, or a beginning of one; "" is every key."""
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix


CONTENT_TYPES = {
    "m3u8": "application/vnd.apple.mpegurl",
    "mpd": "application/dash+xml",
    "mp4": "video/mp4",
    "m4s": "video/iso.segment",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "vtt": "text/vtt",
    "json": "application/json",
    "jsonl": "application/jsonl",
}


def content_type_of(name: str) -> str:
    return CONTENT_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
