"""What the staff of a chat does: modes, bans, and who belongs to the staff; word filters and emotes of the channel."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import UNSET

from server.community.chat import words
from server.community.chat.bodies import Kind
from server.community.chat.emotes import is_emoji
from server.community.chat.errors import (
    BadBan,
    BadEmote,
    BadMode,
    BadPattern,
    ModeUnavailable,
    NoSuchEmote,
    NoSuchFilter,
    NotYours,
    TooMany,
)
from server.community.chat.mode import ModeBody
from server.community.chat.rights import Deed, may_touch
from server.community.chat.rules_store import Ban, Filter
from server.community.chat.turn import Operation, Stored, Turn


@dataclass(kw_only=True)
class SetMode(Operation):
    body: ModeBody

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, BadMode, ModeUnavailable."""
        turn.need(self.actor, Deed.MODE)
        given = {name: value for name, value in msgspec.structs.asdict(self.body).items() if value is not UNSET}
        mode = msgspec.structs.replace(turn.room.mode, **given)
        options, bonds = turn.options, turn.parts.bonds
        if mode.slow > options.slow_most or mode.delay > options.delay_most:
            raise BadMode(
                f"Slow mode may be {options.slow_most} s at most, the delay {options.delay_most} s.",
                slow=options.slow_most,
                delay=options.delay_most,
            )
        if mode.followers is not None and not bonds.knows("followers"):
            raise ModeUnavailable("Nobody can follow anybody here yet.", field="followers")
        if mode.subscribers and not bonds.knows("subscribers"):
            raise ModeUnavailable("Nobody can subscribe to anybody here yet.", field="subscribers")
        if mode == turn.room.mode:
            return turn.stored(data=mode)
        turn.room = replace(turn.room, mode=mode)
        await turn.audit(self, self.actor.user_id, "chat.mode_changed", mode=msgspec.to_builtins(mode))
        row = turn.log("mode", self.at, self.actor.user_id, data=msgspec.to_builtins(mode))
        return turn.stored(row, data=mode)


@dataclass(kw_only=True)
class OnPerson(Operation):
    user_id: UUID

    def concerns(self) -> tuple[UUID, ...]:
        return (self.actor.user_id, self.user_id)


@dataclass(kw_only=True)
class BanPerson(OnPerson):
    kind: Kind
    seconds: int | None
    reason: str
    clear: bool

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, BadBan, TooMany."""
        actor_id, user_id = self.actor.user_id, self.user_id
        role = turn.need(self.actor, Deed.BAN)
        if not may_touch(role, Deed.BAN, own=actor_id == user_id, other=turn.role_of(user_id)):
            raise NotYours(Deed.BAN.sentence)
        until = self._until(turn)
        before, place = turn.standing.ban(user_id, self.at), turn.room.offset
        if before is None and await turn.parts.rules.drop_ended(turn.connection, turn.owner_id, self.at) >= (
            turn.options.bans
        ):
            raise TooMany("Lift another ban first.", most=turn.options.bans)
        ban = Ban(user_id, self.kind, until, self.reason, actor_id, self.at)
        if before is None or replace(before, by=actor_id, at=self.at) != ban:
            await turn.parts.rules.ban(turn.connection, turn.owner_id, ban)
            turn.standing.bans[user_id] = ban
            shadow = self.kind == "shadow"
            if shadow and before is not None and before.kind != "shadow":
                turn.log("unban", self.at, actor_id, subject=user_id)  # to all it looks as if it were lifted
            # its own account must not tell a person that it is shadow-banned
            about, event = (actor_id, "chat.shadow_banned") if shadow else (user_id, _EVENTS[self.kind])
            told: dict[str, object] = {"until": until.isoformat() if until else None, "reason": self.reason}
            await turn.audit(self, about, event, user=str(user_id), **told)
            turn.log(
                "ban",
                self.at,
                actor_id,
                subject=user_id,
                data={**{name: value for name, value in told.items() if value}, **({"shadow": True} if shadow else {})},
                audience="staff" if shadow else "all",
            )
        if self.clear:
            await turn.flush()
            most = turn.options.clear_most
            for kept in await turn.store.latest_of(turn.connection, turn.room_id, user_id, most):
                await turn.erase(kept, actor_id, self.at)
        return turn.stored(turn.rows[-1] if turn.room.offset > place else None, data=ban)

    def _until(self, turn: Turn) -> datetime | None:
        if (self.kind == "timeout") != (self.seconds is not None):
            raise BadBan("`seconds` belongs to a time-out, and a time-out needs it.", field="seconds")
        if self.seconds is None:
            return None
        most = turn.options.timeout_days * 86400
        if self.seconds > most:
            raise BadBan(f"A time-out may last {most} s at most.", field="seconds", most=most)
        return self.at + timedelta(seconds=self.seconds)


@dataclass(kw_only=True)
class LiftBan(OnPerson):
    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours."""
        actor_id, user_id = self.actor.user_id, self.user_id
        turn.need(self.actor, Deed.BAN)
        ban = turn.standing.ban(user_id, self.at)
        if ban is None:
            return turn.stored()
        if actor_id == user_id:
            raise NotYours(Deed.BAN.sentence)
        await turn.parts.rules.unban(turn.connection, turn.owner_id, user_id)
        turn.standing.bans.pop(user_id, None)
        shadow = ban.kind == "shadow"
        await turn.audit(
            self,
            actor_id if shadow else user_id,
            "chat.unbanned",
            user=str(user_id),
            **({"shadow": True} if shadow else {}),
        )
        return turn.stored(turn.log("unban", self.at, actor_id, subject=user_id, audience="staff" if shadow else "all"))


@dataclass(kw_only=True)
class Appoint(OnPerson):
    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, TooMany."""
        actor_id, user_id = self.actor.user_id, self.user_id
        turn.need(self.actor, Deed.APPOINT)
        if user_id in turn.standing.moderators or user_id == turn.owner_id:
            return turn.stored()
        rules = turn.parts.rules
        if await rules.moderator_count(turn.connection, turn.owner_id) >= turn.options.moderators:
            raise TooMany("Dismiss another moderator first.", most=turn.options.moderators)
        await rules.appoint(turn.connection, turn.owner_id, user_id, actor_id, self.at)
        turn.standing.moderators.add(user_id)
        await turn.audit(self, user_id, "chat.moderator_added")
        return turn.stored(turn.log("moderator", self.at, actor_id, subject=user_id, data={"moderates": True}))


@dataclass(kw_only=True)
class Dismiss(OnPerson):
    async def apply(self, turn: Turn) -> Stored:
        """By the owner, or by the moderator himself. Raises NotYours."""
        actor_id, user_id = self.actor.user_id, self.user_id
        if actor_id != user_id:
            turn.need(self.actor, Deed.APPOINT)
        if user_id not in turn.standing.moderators:
            return turn.stored()
        await turn.parts.rules.dismiss(turn.connection, turn.owner_id, user_id)
        turn.standing.moderators.discard(user_id)
        turn.recheck_staff = True
        await turn.audit(self, user_id, "chat.moderator_removed")
        return turn.stored(turn.log("moderator", self.at, actor_id, subject=user_id, data={"moderates": False}))


@dataclass(kw_only=True)
class AddFilter(Operation):
    id: UUID
    pattern: str
    action: words.Action

    async def apply(self, turn: Turn) -> Stored:
        """`data` of what is stored: the filter. Raises NotYours, BadPattern, TooMany."""
        turn.need(self.actor, Deed.FILTER)
        parsed = words.parse(self.pattern)
        if not parsed or any("*" in part and len(part.strip("*")) < _SHORTEST for part in parsed):
            raise BadPattern(
                f"A filter needs a word, and {_SHORTEST} letters beside a star.", field="pattern", shortest=_SHORTEST
            )
        pattern = " ".join(parsed)
        rules = turn.parts.rules
        there = {filter.pattern: filter for filter in await rules.filters(turn.connection, turn.owner_id)}
        same = there.get(pattern)
        if same is not None and same.action == self.action:
            return turn.stored(data=same)
        if same is None and len(there) >= turn.options.filters:
            raise TooMany("Remove another filter first.", most=turn.options.filters)
        filter = await rules.add_filter(
            turn.connection, turn.owner_id, Filter(self.id, pattern, self.action, self.at), self.actor.user_id
        )
        turn.forget_rules()
        await turn.audit(self, self.actor.user_id, "chat.filter_added", pattern=pattern, action=self.action)
        return turn.stored(turn.log("filters", self.at, self.actor.user_id, audience="staff"), data=filter)


@dataclass(kw_only=True)
class RemoveFilter(Operation):
    id: UUID

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, NoSuchFilter."""
        turn.need(self.actor, Deed.FILTER)
        if not await turn.parts.rules.remove_filter(turn.connection, turn.owner_id, self.id):
            raise NoSuchFilter("The channel has no such filter.")
        turn.forget_rules()
        await turn.audit(self, self.actor.user_id, "chat.filter_removed", filter=str(self.id))
        return turn.stored(turn.log("filters", self.at, self.actor.user_id, audience="staff"))


@dataclass(kw_only=True)
class SetEmote(Operation):
    name: str
    art: str

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, BadEmote, TooMany."""
        turn.need(self.actor, Deed.EMOTE)
        if not all(is_emoji(part) for part in self.art.split(" ")):
            raise BadEmote("The art of an emote is emoji, with single spaces between them.", field="art")
        emotes = await turn.emotes()
        if emotes.get(self.name) == self.art:
            return turn.stored()
        if self.name not in emotes and len(emotes) >= turn.options.emotes:
            raise TooMany("Remove another emote first.", most=turn.options.emotes)
        rules, actor_id = turn.parts.rules, self.actor.user_id
        await rules.set_emote(turn.connection, turn.owner_id, self.name, self.art, actor_id, self.at)
        turn.forget_rules()
        return turn.stored(turn.log("emotes", self.at, actor_id, data={"name": self.name, "art": self.art}))


@dataclass(kw_only=True)
class RemoveEmote(Operation):
    name: str

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, NoSuchEmote."""
        turn.need(self.actor, Deed.EMOTE)
        if not await turn.parts.rules.remove_emote(turn.connection, turn.owner_id, self.name):
            raise NoSuchEmote("The channel has no such emote.")
        turn.forget_rules()
        return turn.stored(turn.log("emotes", self.at, self.actor.user_id, data={"name": self.name}))


_SHORTEST = 2
"""Letters beside a star: with fewer nearly every message would be found, at a cost for each."""
_EVENTS: dict[Kind, str] = {"ban": "chat.banned", "timeout": "chat.timed_out"}

__all__ = [
    "AddFilter", "Appoint", "BanPerson", "Dismiss", "LiftBan", "RemoveEmote", "RemoveFilter", "SetEmote",
    "SetMode",
]  # fmt: skip
