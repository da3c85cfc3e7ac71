"""Whose a thing is: the one place that decides whether a caller may have what somebody owns.

A feature reads the row and passes it through `own` before it looks at anything else in it. Whoever is neither its owner
nor holds the permission for other people's gets the same answer as for a thing that is not there, unless everybody may
know that it exists: then he is told that it is somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

from server.kit.auth import Caller
from server.kit.problems import Problem


class Owned(Protocol):
    @property
    def owner_id(self) -> UUID: ...


T = TypeVar("T", bound=Owned)


def own(
    thing: T | None,
    caller: Caller | None,
    *,
    missing: Callable[[], Problem],
    foreign: Callable[[], Problem] | None = None,
    permission: str = "",
) -> T:
    """The thing, when it is there and the caller may have it.

    missing: makes the answer for what is not there (404). foreign: makes the one for somebody else's (403); None: its
    existence is a secret, and the answer is `missing`. permission: of those who may have everybody's.
    """
    if thing is None:
        raise missing()
    if may(caller, thing.owner_id, permission):
        return thing
    raise missing() if foreign is None else foreign()


def may(caller: Caller | None, owner_id: UUID, permission: str = "") -> bool:
    """Whether the caller owns it, or has the permission for other people's."""
    return caller is not None and (
        caller.user_id == owner_id or (permission != "" and permission in caller.permissions)
    )


def scope(caller: Caller, permission: str = "") -> UUID | None:
    """Whose rows a list may hold, for `where ($1::uuid is null or owner_id = $1)`: the caller's; None: everybody's."""
    return None if permission and permission in caller.permissions else caller.user_id
