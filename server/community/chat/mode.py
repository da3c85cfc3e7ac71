"""How a chat is restricted just now: one value a room, changed by its staff."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Slow = Annotated[int, Meta(ge=0, le=86400, description="seconds between two messages of one author; 0: off")]
Followers = Annotated[int, Meta(ge=0, le=525_600, description="minutes that one must have followed; null: off")]
Delay = Annotated[int, Meta(ge=0, le=3600, description="seconds after which others see a message; 0: at once")]


class Mode(Struct, frozen=True, kw_only=True):
    """The chat's staff is exempt from all of it.

    slow: seconds between two messages of one author. followers: minutes for which an author must have followed; null:
    anybody. subscribers: subscribers alone. emotes: nothing but emotes and emoji. unique: nothing that was said in the
    last minutes. delay: seconds after which others than the author and the staff see a message.
    """

    slow: Slow = 0
    followers: Followers | None = None
    subscribers: bool = False
    emotes: bool = False
    unique: bool = False
    delay: Delay = 0


class ModeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    slow: Slow | UnsetType = UNSET
    followers: Followers | UnsetType | None = UNSET
    subscribers: bool | UnsetType = UNSET
    emotes: bool | UnsetType = UNSET
    unique: bool | UnsetType = UNSET
    delay: Delay | UnsetType = UNSET


Bond = Literal["followers", "subscribers"]
