"""What is done with messages that stand in the chat: deleting, reacting, pinning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

import msgspec
from msgspec import UNSET

from server.community.chat.emotes import is_reaction
from server.community.chat.errors import BadReaction, NoSuchMessage, NotYours, TooMany
from server.community.chat.rights import Deed, Role, may_touch
from server.community.chat.turn import Operation, Stored, Turn
from server.community.chat.view import Kept, Viewer
from server.community.chat.writing import refuse_banned


@dataclass(kw_only=True)
class OnMessage(Operation):
    message_id: UUID

    async def find(self, turn: Turn, role: Role, *, deleted: bool = False) -> Kept:
        """Raises NoSuchMessage, also for what the actor does not see."""
        kept = await turn.message(self.message_id)
        viewer = Viewer(self.actor.user_id, role.staff)
        if kept is None or not viewer.sees_message(kept) or (kept.message.deleted is True and not deleted):
            raise NoSuchMessage("There is no such message in this chat.")
        return kept


@dataclass(kw_only=True)
class Erase(OnMessage):
    async def apply(self, turn: Turn) -> Stored:
        """Raises NoSuchMessage, NotYours."""
        actor_id = self.actor.user_id
        role = turn.role(self.actor)
        kept = await self.find(turn, role, deleted=True)
        author_id = kept.message.author.id
        if author_id not in turn.standing.moderators and role is Role.MODERATOR:  # whom this turn has not asked about
            found = await turn.parts.rules.standing(turn.connection, turn.owner_id, [author_id])
            turn.standing.moderators |= found.moderators
        if not may_touch(role, Deed.DELETE, own=author_id == actor_id, other=turn.role_of(author_id)):
            raise NotYours(Deed.DELETE.sentence)
        if kept.message.deleted is True:  # once is enough
            return turn.stored(None, kept)
        row = await turn.erase(kept, actor_id, self.at)
        if author_id != actor_id:
            await turn.audit(self, author_id, "chat.message_deleted", message=str(self.message_id))
        return turn.stored(row, row.kept)


@dataclass(kw_only=True)
class React(OnMessage):
    emoji: str
    remove: bool = False

    async def apply(self, turn: Turn) -> Stored:
        """`data` of what is stored: the counts as the actor sees them. Raises NoSuchMessage, BannedHere, BadReaction,
        TooMany."""
        actor = self.actor
        role = turn.need(actor, Deed.REACT)
        kept = await self.find(turn, role)
        ban = refuse_banned(turn, actor, role, self.at)
        reactions = kept.message.reactions
        counts = {} if reactions is UNSET else dict(reactions)
        shadowed = ban is not None
        if self.remove:
            hidden = await turn.store.unreact(turn.connection, self.message_id, actor.user_id, self.emoji)
            if hidden is None:
                return turn.stored(None, kept, counts)
            shadowed = hidden
        else:
            if not is_reaction(self.emoji, await turn.emotes()):
                raise BadReaction("A reaction is one emoji, or one emote of the channel.", field="emoji")
            if self.emoji not in counts and len(counts) >= turn.options.reactions:
                raise TooMany("The message has as many different reactions as it may.", most=turn.options.reactions)
            if not await turn.store.react(
                turn.connection, turn.room_id, self.message_id, actor.user_id, self.emoji, shadowed, self.at
            ):
                return turn.stored(None, kept, counts)
        own = (await turn.store.hidden_on([self.message_id], turn.connection)).get(self.message_id, {})
        if shadowed:  # his alone: the others' numbers stay
            own = {actor.user_id: own.get(actor.user_id, {})}
            row = turn.log(
                "reactions",
                self.at,
                None,
                kept=kept,
                subject=actor.user_id,
                data={"counts": counts},
                audience="self",
                own=own,
            )
            return turn.stored(row, kept, counts)
        counts[self.emoji] = counts.get(self.emoji, 0) + (-1 if self.remove else 1)
        counts = {emoji: count for emoji, count in counts.items() if count > 0}
        await turn.store.set_counts(turn.connection, self.message_id, counts)
        now = replace(kept, message=msgspec.structs.replace(kept.message, reactions=counts))
        row = turn.log("reactions", self.at, None, kept=now, data={"counts": counts}, own=own)
        return turn.stored(row, now, counts)


@dataclass(kw_only=True)
class Pin(OnMessage):
    remove: bool = False

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, NoSuchMessage (also for what is hidden from others), TooMany."""
        role = turn.need(self.actor, Deed.PIN)
        pins = turn.room.pins
        if self.remove:
            if self.message_id not in pins:
                return turn.stored()
            kept = await self.find(turn, role)
            turn.unpin(self.message_id)
            return turn.stored(turn.log("unpin", self.at, self.actor.user_id, kept=kept), kept)
        kept = await self.find(turn, role)
        if kept.private:
            raise NoSuchMessage("Others do not see this message.")
        if self.message_id in pins:
            return turn.stored(None, kept)
        if len(pins) >= turn.options.pins:
            raise TooMany("Unpin a message first.", most=turn.options.pins)
        turn.room = replace(turn.room, pins=(*pins, self.message_id))
        await turn.audit(self, self.actor.user_id, "chat.pinned", message=str(self.message_id))
        return turn.stored(turn.log("pin", self.at, self.actor.user_id, kept=kept), kept)
