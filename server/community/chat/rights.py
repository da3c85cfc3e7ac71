"""Who may do what in a chat: the one place that says so."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from server.kit.auth import Caller

PERMISSION = "chat.moderate"


class Role(enum.IntEnum):
    """Whoever is higher may act on those below."""

    GUEST = 0
    VIEWER = 1
    MODERATOR = 2  # made so by the owner
    OWNER = 3
    PLATFORM = 4  # carries the permission chat.moderate

    @property
    def staff(self) -> bool:
        """Sees what is hidden, and is exempt from limits."""
        return self >= Role.MODERATOR


class Deed(enum.Enum):
    """What somebody does in a chat, and the least role for it."""

    sentence: str
    least: Role

    def __new__(cls, value: str, least: Role, sentence: str) -> Deed:
        member = object.__new__(cls)
        member._value_ = value
        member.least = least
        member.sentence = sentence
        return member

    READ = "read", Role.GUEST, "Anybody may read."
    WRITE = "write", Role.VIEWER, "Sign in to write."
    REACT = "react", Role.VIEWER, "Sign in to react."
    EDIT = "edit", Role.VIEWER, "Only its author may edit a message."
    DELETE = "delete", Role.VIEWER, "Only its author and the chat's moderators may delete this message."
    PIN = "pin", Role.MODERATOR, "Only the chat's moderators may pin messages."
    MODE = "mode", Role.MODERATOR, "Only the chat's moderators may change its mode."
    BAN = "ban", Role.MODERATOR, "Only the chat's moderators may ban, and only people below them."
    FILTER = "filter", Role.MODERATOR, "Only the chat's moderators may see and change its word filters."
    EMOTE = "emote", Role.OWNER, "Only the owner may change the channel's emotes."
    APPOINT = "appoint", Role.OWNER, "Only the owner says who moderates the chat."


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. platform: whether his permissions reach into every chat."""

    user_id: UUID
    username: str
    platform: bool

    @classmethod
    def of(cls, caller: Caller) -> Actor:
        return cls(caller.user_id, caller.username, PERMISSION in caller.permissions)

    def role(self, owner_id: UUID, moderators: Collection[UUID]) -> Role:
        return Role.PLATFORM if self.platform else role_of(self.user_id, owner_id, moderators)


def role_of(user_id: UUID, owner_id: UUID, moderators: Collection[UUID]) -> Role:
    """Of somebody who is not here to show his permissions."""
    if user_id == owner_id:
        return Role.OWNER
    return Role.MODERATOR if user_id in moderators else Role.VIEWER


def may(role: Role, deed: Deed) -> bool:
    return role >= deed.least


def may_touch(role: Role, deed: Deed, *, own: bool, other: Role) -> bool:
    """A deed on somebody's message, or on somebody. own: whether it is the actor's own. other: the role of whom it
    concerns."""
    if deed is Deed.EDIT:
        return own and may(role, deed)
    if deed is Deed.DELETE:
        return own or (role.staff and role > other)
    return may(role, deed) and not own and role > other
