"""Roles of accounts, and the permissions that each carries.

A route declares a permission, never a role: which role carries it is decided here alone. Every account may do what
belongs to nobody's office (publish, watch, write); a permission is for what not everybody may. A role that is not
known, as from a newer version of this program, carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, get_args

Role = Literal["user", "creator", "student", "tutor", "consultant", "moderator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)

Tier = Literal["free", "basic", "pro", "enterprise"]
TIERS: tuple[Tier, ...] = get_args(Tier)

_CREATOR = frozenset({"channel.monetize", "channel.analytics"})
_TUTOR = frozenset({"courses.teach", "jobs.apply", "meetings.host"})
_CONSULTANT = frozenset({"sessions.offer", "meetings.host"})
_STUDENT = frozenset({"jobs.post"})
_MODERATOR = frozenset(
    {"broadcasts.stop", "broadcasts.read", "chat.moderate", "content.remove", "reports.read", "users.read", "users.ban"}
)
_ADMIN = frozenset(
    {"audit.read", "roles.grant", "tiers.set", "users.delete", "operation.read", "operation.write", "money.read"}
)

PERMISSIONS: dict[str, frozenset[str]] = {
    "user": frozenset(),
    "creator": _CREATOR,
    "student": _STUDENT,
    "tutor": _TUTOR,
    "consultant": _CONSULTANT,
    "moderator": _MODERATOR,
    "admin": _CREATOR | _TUTOR | _CONSULTANT | _STUDENT | _MODERATOR | _ADMIN,
}


def permissions_of(roles: Iterable[str]) -> frozenset[str]:
    """What an account with these roles may do."""
    return _together(frozenset(roles))


@lru_cache(maxsize=1024)
def _together(roles: frozenset[str]) -> frozenset[str]:
    return frozenset[str]().union(*(PERMISSIONS.get(role, frozenset()) for role in roles))
