"""The lists of who follows whom, as far as their owner shows them. Keeps nothing of its own.

The lists are shown to whom the profile is shown: of a private one to its owner alone, of one for followers to those.
The counts, which are on the profile's card, are shown to all.
"""

from __future__ import annotations

import logging
from datetime import datetime
from uuid import UUID

from server.community.follows import store
from server.community.follows.errors import ListNotShown, NoSuchPerson
from server.community.follows.models import (
    Followed,
    OnlineNow,
    People,
    PeopleQuery,
    Person,
    Sight,
    WhoIsHere,
)
from server.kit.auth import Caller
from server.kit.http import Page, decode_cursor
from server.kit.problems import Unauthorized, Unavailable
from storage.postgres import Database

log = logging.getLogger(__name__)

MOST_NAMED = 200


class Lists:
    def __init__(self, database: Database, people: People, sight: Sight, here: WhoIsHere, most_online: int) -> None:
        """most_online: so many of those whom somebody followed last are looked at."""
        self._database = database
        self._people = people
        self._sight = sight
        self._here = here
        self._most_online = most_online

    async def page(self, caller: Caller | None, direction: store.Direction, query: PeopleQuery) -> Page[Followed]:
        """Newest first. Raises Unauthorized, NoSuchPerson, ListNotShown, BadCursor."""
        if query.user_id is None and caller is None:
            raise Unauthorized("Say whose list, as user_id=…, or sign in for your own.")
        user_id = query.user_id or (caller.user_id if caller is not None else UUID(int=0))
        after: store.Position | None = decode_cursor(query.cursor, datetime, UUID) if query.cursor else None
        if caller is None or caller.user_id != user_id:
            await self.need_person(user_id)
            if not await self._sight.shows(user_id, caller):
                raise ListNotShown("This person does not show you who follows whom.")
        async with self._database.acquire() as connection:
            rows = await store.page(connection, user_id, direction, after, query.limit + 1)
        named = await self._people.people([id for id, _ in rows])
        page = Page.cut(rows, query.limit, lambda row: (row[1], row[0]), lambda row: row)
        return Page(
            items=[
                Followed(id=id, username=named[id].username, display_name=named[id].display_name, since=since)
                for id, since in page.items
                if id in named  # erased in this moment
            ],
            next_cursor=page.next_cursor,
        )

    async def online(self, caller: Caller) -> OnlineNow:
        """Of those whom he follows. Raises Unavailable."""
        async with self._database.acquire() as connection:
            rows = await store.page(connection, caller.user_id, "following", None, self._most_online)
        try:
            here = [UUID(id) for id in await self._here.online([str(id) for id, _ in rows])]
        except Exception as error:
            log.warning("it cannot be told who is online: %s", error)
            raise Unavailable("Who is online cannot be told right now; try again.", 5.0) from error
        named = sorted((await self._people.people(here)).values(), key=lambda person: person.username.lower())
        return OnlineNow(
            count=len(named),
            items=[
                Person(id=one.id, username=one.username, display_name=one.display_name) for one in named[:MOST_NAMED]
            ],
        )

    async def need_person(self, user_id: UUID) -> None:
        """Raises NoSuchPerson, also for who is leaving."""
        async with self._database.acquire() as connection:
            away = await store.away(connection, user_id)
        if away or user_id not in await self._people.people([user_id]):
            raise NoSuchPerson("Nobody has this id.")
