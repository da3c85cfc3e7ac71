"""Deletion of everything under a prefix, so that it holds for every node of a fleet.

A spool on another node may still have files of the prefix, or be sending one just now. So a mark is put into the store
before anything is deleted. Every spool looks for the mark after it has sent something, and when it finds one it drops
what it has and deletes again: whatever was sent after the first deletion was sent after the mark was there.

A mark is a few bytes and stays. It has done its work once every spool that was running has asked for it; a spool that
starts later is told of deleted broadcasts by the database.
"""

from __future__ import annotations

from datetime import UTC, datetime

from storage.objects.store import ObjectStore, check_key

MARKS = "deleted"


class Deletions:
    """Of one store; keeps nothing. Its `delete_prefix` is what a process without a spool deletes with."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def delete_prefix(self, prefix: str) -> int:
        """Delete what is under the prefix (without a slash at its end), for good: it is never written to again. Returns
        how many objects it had. Raises StoreError, after which it can be called again."""
        mark = _mark(prefix)
        await self._store.put(mark, f'{{"at":"{datetime.now(UTC):%FT%TZ}"}}\n'.encode(), "application/json")
        return await self._store.delete_prefix(prefix + "/")

    async def has(self, prefix: str) -> bool:
        """Whether the prefix was deleted. Raises StoreError."""
        return await self._store.size(_mark(prefix)) is not None


def _mark(prefix: str) -> str:
    return f"{MARKS}/{check_key(prefix)}.json"
