"""What the staff of a chat asks for: the service of modes, bans, moderators, word filters and emotes."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal
from uuid import UUID

from server.community.chat.bodies import (
    BanBody,
    BanView,
    ChatState,
    Emotes,
    EmoteView,
    FilterBody,
    Filters,
    FilterView,
    InTheRoom,
    Moderators,
    ModeratorView,
    OwnBan,
)
from server.community.chat.emotes import EVERYWHERE
from server.community.chat.errors import BadEmote, NoSuchPerson, NotYours
from server.community.chat.mode import Mode, ModeBody
from server.community.chat.models import Author, Room
from server.community.chat.moderating import (
    AddFilter,
    Appoint,
    BanPerson,
    Dismiss,
    LiftBan,
    RemoveEmote,
    RemoveFilter,
    SetEmote,
    SetMode,
)
from server.community.chat.rights import Actor, Deed, Role, may
from server.community.chat.rules_store import Ban, Filter
from server.community.chat.service import Chat
from server.community.chat.turn import Stored
from server.kit.auth import Caller, Origin
from server.kit.http import Page, PageQuery, decode_cursor
from server.kit.ids import uuid7


class Moderation:
    """Keeps nothing of its own."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def state(self, caller: Caller | None, room_id: UUID) -> ChatState:
        """Raises NoSuchRoom."""
        room = await self._chat.entered_lately(caller, room_id)
        return await self._chat.states.state(room_id, room.owner_id, await self._chat.viewer(caller, room))

    async def me(self, caller: Caller, room_id: UUID) -> InTheRoom:
        """Raises NoSuchRoom."""
        chat = self._chat
        room = await chat.entered_lately(caller, room_id)
        async with chat.database.acquire() as connection:
            standing = await chat.rules.standing(connection, room.owner_id, [caller.user_id])
        role = Actor.of(caller).role(room.owner_id, standing.moderators)
        ban = standing.ban(caller.user_id, chat.clock())
        told: OwnBan | None = None
        if ban is not None and ban.kind != "shadow" and not role.staff:
            told = OwnBan(kind=ban.kind, until=ban.until, reason=ban.reason)
        state = await chat.states.state(room_id, room.owner_id, await chat.viewer(caller, room))
        reactions = await chat.store.reactions_of([message.id for message in state.messages], caller.user_id)
        return InTheRoom(role=_NAMES[role], ban=told, reactions=reactions)

    async def set_mode(
        self, caller: Caller, room_id: UUID, body: ModeBody, origin: Origin | None = None
    ) -> tuple[Stored, Mode]:
        """Raises NoSuchRoom, NotYours, BadMode, ModeUnavailable, NotStored."""
        room = await self._chat.entered(caller, room_id)
        operation = SetMode(actor=Actor.of(caller), at=self._chat.clock(), origin=origin, body=body)
        stored = await self._chat.do(room, operation)
        return stored, stored.data

    async def pin(
        self, caller: Caller, room_id: UUID, message_id: UUID, origin: Origin | None = None, *, remove: bool = False
    ) -> Stored:
        """Raises NoSuchRoom, NotYours, NoSuchMessage, TooMany, NotStored."""
        return await self._chat.pin(caller, room_id, message_id, origin, remove=remove)

    # bans

    async def ban(
        self, caller: Caller, room_id: UUID, user_id: UUID, body: BanBody, origin: Origin | None = None
    ) -> tuple[Stored, BanView]:
        """Raises NoSuchRoom, NoSuchPerson, NotYours, BadBan, TooMany, NotStored."""
        room = await self._chat.entered(caller, room_id)
        await self._need(caller, room, Deed.BAN)
        person = await self._person(user_id)
        stored = await self._chat.do(
            room,
            BanPerson(
                actor=Actor.of(caller),
                at=self._chat.clock(),
                origin=origin,
                user_id=user_id,
                kind=body.kind,
                seconds=body.seconds,
                reason=body.reason.replace("\x00", "").strip(),
                clear=body.clear,
            ),
        )
        return stored, _ban_view(stored.data, person)

    async def unban(self, caller: Caller, room_id: UUID, user_id: UUID, origin: Origin | None = None) -> Stored:
        """Raises NoSuchRoom, NotYours, NotStored."""
        room = await self._chat.entered(caller, room_id)
        operation = LiftBan(actor=Actor.of(caller), at=self._chat.clock(), origin=origin, user_id=user_id)
        return await self._chat.do(room, operation)

    async def bans(self, caller: Caller, room_id: UUID, query: PageQuery) -> Page[BanView]:
        """Raises NoSuchRoom, NotYours, BadCursor."""
        room = await self._chat.entered(caller, room_id)
        await self._need(caller, room, Deed.BAN)
        before: tuple[datetime, UUID] | None = None
        if query.cursor is not None:
            at, id = decode_cursor(query.cursor, datetime, UUID)
            before = (at, id)
        rows = await self._chat.rules.bans(room.owner_id, self._chat.clock(), before, query.limit + 1)
        names = await self._names([ban.user_id for ban in rows])
        return Page[BanView].cut(
            rows,
            query.limit,
            lambda ban: (ban.at, ban.user_id),
            lambda ban: _ban_view(ban, Author(ban.user_id, names.get(ban.user_id, ""))),
        )

    # moderators

    async def appoint(self, caller: Caller, room_id: UUID, user_id: UUID, origin: Origin | None = None) -> Stored:
        """Raises NoSuchRoom, NoSuchPerson, NotYours, TooMany, NotStored."""
        room = await self._chat.entered(caller, room_id)
        await self._need(caller, room, Deed.APPOINT)
        await self._person(user_id)
        operation = Appoint(actor=Actor.of(caller), at=self._chat.clock(), origin=origin, user_id=user_id)
        return await self._chat.do(room, operation)

    async def dismiss(self, caller: Caller, room_id: UUID, user_id: UUID, origin: Origin | None = None) -> Stored:
        """Raises NoSuchRoom, NotYours, NotStored."""
        room = await self._chat.entered(caller, room_id)
        operation = Dismiss(actor=Actor.of(caller), at=self._chat.clock(), origin=origin, user_id=user_id)
        return await self._chat.do(room, operation)

    async def moderators(self, caller: Caller | None, room_id: UUID) -> Moderators:
        """Raises NoSuchRoom."""
        room = await self._chat.entered_lately(caller, room_id)
        found = await self._chat.rules.moderators(room.owner_id)
        names = await self._names([id for id, _ in found])
        return Moderators(items=[ModeratorView(user=Author(id, names.get(id, "")), at=at) for id, at in found])

    # word filters and emotes

    async def add_filter(
        self, caller: Caller, room_id: UUID, body: FilterBody, origin: Origin | None = None
    ) -> FilterView:
        """Raises NoSuchRoom, NotYours, BadPattern, TooMany, NotStored."""
        room = await self._chat.entered(caller, room_id)
        operation = AddFilter(
            actor=Actor.of(caller),
            at=self._chat.clock(),
            origin=origin,
            id=uuid7(),
            pattern=body.pattern,
            action=body.action,
        )
        return _filter_view((await self._chat.do(room, operation)).data)

    async def remove_filter(
        self, caller: Caller, room_id: UUID, filter_id: UUID, origin: Origin | None = None
    ) -> Stored:
        """Raises NoSuchRoom, NotYours, NoSuchFilter, NotStored."""
        room = await self._chat.entered(caller, room_id)
        operation = RemoveFilter(actor=Actor.of(caller), at=self._chat.clock(), origin=origin, id=filter_id)
        return await self._chat.do(room, operation)

    async def filters(self, caller: Caller, room_id: UUID) -> Filters:
        """Raises NoSuchRoom, NotYours."""
        room = await self._chat.entered(caller, room_id)
        await self._need(caller, room, Deed.FILTER)
        async with self._chat.database.acquire() as connection:
            found = await self._chat.rules.filters(connection, room.owner_id)
        return Filters(items=[_filter_view(filter) for filter in found])

    async def set_emote(self, caller: Caller, room_id: UUID, name: str, art: str) -> EmoteView:
        """Raises NoSuchRoom, NotYours, BadEmote, TooMany, NotStored."""
        room = await self._chat.entered(caller, room_id)
        _check_name(name)
        operation = SetEmote(actor=Actor.of(caller), at=self._chat.clock(), name=name, art=art)
        await self._chat.do(room, operation)
        return EmoteView(name=name, art=art)

    async def remove_emote(self, caller: Caller, room_id: UUID, name: str) -> Stored:
        """Raises NoSuchRoom, NotYours, NoSuchEmote, NotStored."""
        room = await self._chat.entered(caller, room_id)
        _check_name(name)
        return await self._chat.do(room, RemoveEmote(actor=Actor.of(caller), at=self._chat.clock(), name=name))

    async def emotes(self, caller: Caller | None, room_id: UUID) -> Emotes:
        """Raises NoSuchRoom."""
        room = await self._chat.entered_lately(caller, room_id)
        async with self._chat.database.acquire() as connection:
            own = await self._chat.rules.emotes(connection, room.owner_id)
        return Emotes(items=_emote_views(own), everywhere=_emote_views(dict(EVERYWHERE)))

    # within

    async def _need(self, caller: Caller, room: Room, deed: Deed) -> None:
        async with self._chat.database.acquire() as connection:
            standing = await self._chat.rules.standing(connection, room.owner_id, [caller.user_id])
        if not may(Actor.of(caller).role(room.owner_id, standing.moderators), deed):
            raise NotYours(deed.sentence)

    async def _person(self, user_id: UUID) -> Author:
        names = await self._names([user_id])
        if user_id not in names:
            raise NoSuchPerson("There is no such account.")
        return Author(user_id, names[user_id])

    async def _names(self, ids: list[UUID]) -> dict[UUID, str]:
        if self._chat.people is None:
            return dict.fromkeys(ids, "")
        return {id: person.username for id, person in (await self._chat.people.people(ids)).items()}


_EMOTE_NAME = re.compile(r"[a-z0-9_]{2,32}").fullmatch

_NAMES: dict[Role, Literal["viewer", "moderator", "owner", "platform"]] = {
    Role.VIEWER: "viewer",
    Role.MODERATOR: "moderator",
    Role.OWNER: "owner",
    Role.PLATFORM: "platform",
}


def _check_name(name: str) -> None:
    if _EMOTE_NAME(name) is None:
        raise BadEmote("The name of an emote is 2 to 32 of a to z, 0 to 9 and _.", field="name")


def _ban_view(ban: Ban, person: Author) -> BanView:
    return BanView(user=person, kind=ban.kind, until=ban.until, reason=ban.reason, by=ban.by, at=ban.at)


def _filter_view(filter: Filter) -> FilterView:
    return FilterView(id=filter.id, pattern=filter.pattern, action=filter.action, at=filter.at)


def _emote_views(emotes: dict[str, str]) -> list[EmoteView]:
    return [EmoteView(name=name, art=art) for name, art in emotes.items()]
