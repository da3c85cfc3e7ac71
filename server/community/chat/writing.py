"""Writing and editing messages: what a text must pass before it stands in the chat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import UNSET

from server.community.chat import words
from server.community.chat.emotes import only_emotes
from server.community.chat.errors import (
    BannedHere,
    EmotesOnly,
    Filtered,
    FollowersOnly,
    NoSuchMessage,
    NotUnique,
    NotYours,
    SlowMode,
    SubscribersOnly,
    TooLate,
)
from server.community.chat.mode import Mode
from server.community.chat.models import Audience, Author, ChatMessage
from server.community.chat.rights import Actor, Deed, Role
from server.community.chat.rules_store import Ban, Standing
from server.community.chat.turn import Operation, Stored, Turn
from server.community.chat.view import Kept, Viewer
from storage.postgres import Connection


@dataclass(kw_only=True)
class Write(Operation):
    id: UUID
    text: str
    media_time: datetime | None
    nonce: str | None
    reply_to: UUID | None = None
    mentions: tuple[UUID, ...] = ()

    async def apply(self, turn: Turn) -> Stored:
        """Raises NotYours, BannedHere, NoSuchMessage, and what the mode and the filters refuse with."""
        actor = self.actor
        role = turn.need(actor, Deed.WRITE)
        if self.nonce is not None and (known := turn.known.get((actor.user_id, self.nonce))) is not None:
            return Stored(turn.room.epoch, known.message.offset, None, known)
        ban = refuse_banned(turn, actor, role, self.at)
        if self.reply_to is not None:
            answered = await turn.message(self.reply_to)
            viewer = Viewer(actor.user_id, role.staff)
            if answered is None or answered.message.deleted is True or not viewer.sees_message(answered):
                raise NoSuchMessage("The message that this one answers is not there any more.", field="reply_to")
        text, shadowed = self.text, ban is not None
        mark = words.fingerprint(text)
        held_until: datetime | None = None
        if not role.staff:
            await self._check_mode(turn, text, mark)
            text, unwanted = await _filter(turn, text)
            shadowed = shadowed or unwanted
            if turn.room.mode.delay:
                held_until = self.at + timedelta(seconds=turn.room.mode.delay)
        message = ChatMessage(
            id=self.id,
            author=Author(actor.user_id, actor.username),
            text=text,
            at=self.at,
            media_time=self.media_time,
            offset=turn.next_place(),
            reply_to=self.reply_to or UNSET,
            mentions=list(self.mentions) or UNSET,
            badge=_badge(turn.role_of(actor.user_id)),
        )
        kept = Kept(message, message.offset, None, shadowed, held_until)
        slow = 0 if role.staff else turn.room.mode.slow
        return turn.stored(turn.write(kept, self.nonce, mark), kept, slow)

    async def _check_mode(self, turn: Turn, text: str, mark: int) -> None:
        mode, author_id = turn.room.mode, self.actor.user_id
        await check_bonds(turn.parts.bonds, turn.connection, turn.owner_id, author_id, mode, self.at)
        if mode.emotes:
            await _emotes_only(turn, text)
        if mode.unique:
            await _unique(turn, mark, author_id, self.at, self.id)
        if mode.slow:
            last = await turn.last_said(author_id)
            wait = (last + timedelta(seconds=mode.slow) - self.at).total_seconds() if last is not None else 0
            if wait > 0:
                raise SlowMode(f"One message each {mode.slow} s.", retry_after=wait, slow=mode.slow)


async def check_bonds(
    bonds: Audience, connection: Connection, owner_id: UUID, author_id: UUID, mode: Mode, at: datetime
) -> None:
    """Raises SubscribersOnly, FollowersOnly."""
    if mode.subscribers and author_id not in await bonds.subscribers(connection, owner_id, [author_id]):
        raise SubscribersOnly("Only subscribers of the channel may write just now.")
    if mode.followers is not None:
        since = (await bonds.followers(connection, owner_id, [author_id])).get(author_id)
        if since is None:
            raise FollowersOnly("Only followers of the channel may write just now.", minutes=mode.followers)
        wait = (since + timedelta(minutes=mode.followers) - at).total_seconds()
        if wait > 0:
            raise FollowersOnly(
                f"Who has followed for {mode.followers} minutes may write just now.",
                minutes=mode.followers,
                retry_after=round(wait, 3),
            )


@dataclass(kw_only=True)
class Edit(Operation):
    message_id: UUID
    text: str
    mentions: tuple[UUID, ...] = ()

    async def apply(self, turn: Turn) -> Stored:
        """Raises NoSuchMessage, NotYours, TooLate, BannedHere, and what the filters and the mode refuse with."""
        actor = self.actor
        role = turn.need(actor, Deed.EDIT)
        kept = await turn.message(self.message_id)
        if kept is None or kept.message.deleted is True or not Viewer(actor.user_id, role.staff).sees_message(kept):
            raise NoSuchMessage("There is no such message in this chat.")
        message = kept.message
        if message.author.id != actor.user_id:
            raise NotYours(Deed.EDIT.sentence)
        ban = refuse_banned(turn, actor, role, self.at)
        if (self.at - message.at).total_seconds() > turn.options.edit_seconds:
            raise TooLate("The message is too old to be edited.", seconds=turn.options.edit_seconds)
        if message.text == self.text:
            return turn.stored(None, kept)
        text, shadowed, mark = self.text, kept.shadowed, words.fingerprint(self.text)
        if not role.staff:
            if turn.room.mode.emotes:
                await _emotes_only(turn, text)
            if turn.room.mode.unique:
                await _unique(turn, mark, actor.user_id, self.at, message.id)
            text, unwanted = await _filter(turn, text)
            if (unwanted or ban is not None) and not kept.private:
                # what all have seen cannot be shown to its author alone from now on: it would be known by its vanishing
                raise Filtered("The channel does not want a word of this.", field="text")
            shadowed = shadowed or unwanted
        place = turn.next_place()
        await turn.store.rewrite(turn.connection, message.id, text, self.mentions, mark, self.at, place, shadowed)
        edited = msgspec.structs.replace(message, text=text, edited_at=self.at, mentions=list(self.mentions) or UNSET)
        now = replace(kept, message=edited, text_at=place, shadowed=shadowed)
        row = turn.log("edit", self.at, actor.user_id, kept=now, prior=kept.text_at)
        return turn.stored(row, now)


@dataclass(kw_only=True)
class Release(Operation):
    """The chat's delay is over for a message: nobody's doing, it had been asked for when it was written."""

    message_id: UUID

    def concerns(self) -> tuple[UUID, ...]:
        return ()

    async def apply(self, turn: Turn) -> Stored:
        kept = await turn.message(self.message_id)
        if kept is None or kept.held_until is None or kept.message.deleted is True:
            return turn.stored(None, kept)  # another node was quicker, or it was deleted
        place = turn.next_place()
        await turn.store.release(turn.connection, self.message_id, place)
        now = replace(kept, held_until=None, text_at=place, released_at=place)
        return turn.stored(turn.log("message", self.at, None, kept=now, prior=kept.text_at), now)


def refuse_banned(turn: Turn, actor: Actor, role: Role, at: datetime) -> Ban | None:
    """The shadow ban, of which he is not to know. Raises BannedHere for any other."""
    return None if role.staff else shadow_of(turn.standing, actor.user_id, at)


def shadow_of(standing: Standing, user_id: UUID, at: datetime) -> Ban | None:
    """The same of somebody who is not of the staff."""
    ban = standing.ban(user_id, at)
    if ban is None or ban.kind == "shadow":
        return ban
    if ban.until is None:
        raise BannedHere("You are banned from this chat.", until=None, reason=ban.reason)
    wait = (ban.until - at).total_seconds()
    raise BannedHere(
        "You may not write in this chat for a while.",
        until=ban.until.isoformat(),
        reason=ban.reason,
        retry_after=round(wait, 3),
    )


async def _emotes_only(turn: Turn, text: str) -> None:
    if not only_emotes(text, await turn.emotes()):
        raise EmotesOnly("Only emotes and emoji may be written just now.")


async def _unique(turn: Turn, mark: int, author_id: UUID, at: datetime, but: UUID) -> None:
    await turn.flush()
    since = at - timedelta(seconds=turn.options.unique_seconds)
    if await turn.store.said_before(turn.connection, turn.room_id, mark, since, author_id, but):
        raise NotUnique("The same was said a short while ago.")


async def _filter(turn: Turn, text: str) -> tuple[str, bool]:
    """The text as it may stand, and whether nobody else is to see it. Raises Filtered."""
    text, action = words.check(text, await turn.words())
    if action == "refuse":
        raise Filtered("The channel does not want a word of this.", field="text")
    return text, action == "shadow"


def _badge(role: Role) -> Literal["owner", "moderator"] | msgspec.UnsetType:
    if role is Role.OWNER:
        return "owner"
    return "moderator" if role is Role.MODERATOR else UNSET
