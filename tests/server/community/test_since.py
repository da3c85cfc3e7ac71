"""From whatever place one goes on, one ends where everybody is: the state and the changes after it make the state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.community.chat.models import channel_of, staff_channel_of
from server.community.chat.service import ChatOptions
from server.kit.clock import now
from storage.postgres import Database
from tests.server.community.conftest import Server, World
from tests.server.community.reader import Reader
from tests.support import eventually

PEOPLE = ("owner", "mod", "ann", "bob", "shade")
VIEWERS = ("", "owner", "mod", "ann", "shade")
KINDS = ("write", "write", "write", "edit", "delete", "react", "unreact", "pin", "unpin", "mode", "ban", "unban",
         "moderator", "emote", "later")  # fmt: skip
STEPS = st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(KINDS), st.integers(0, 5)), min_size=8, max_size=25)


class Clock:
    def __init__(self) -> None:
        self.at = now()

    def __call__(self) -> datetime:
        return self.at


class Play:
    """One room in which people do what Hypothesis says, and who looks on from when on."""

    def __init__(self, server: Server, world: World, clock: Clock) -> None:
        self.server, self.world, self.clock = server, world, clock
        self.room = world.broadcast()
        self.ids: list[str] = []
        self.readers: list[tuple[str, Reader]] = []

    def _paths(self, kind: str, number: int, who: str) -> Iterator[tuple[str, str, Any]]:
        id = self.ids[-1 - number % len(self.ids)] if self.ids else str(UUID(int=7))
        person = self.world.person(PEOPLE[number % len(PEOPLE)]).user_id
        chat = f"{self.room.id}/chat"
        ban = {"kind": ("ban", "timeout", "shadow")[number % 3], "clear": number == 5}
        if ban["kind"] == "timeout":
            ban["seconds"] = 60
        match kind:
            case "write":
                yield "POST", chat, {"text": f"{who} says {len(self.ids)}"}
            case "edit":
                yield "PATCH", f"{chat}/{id}", {"text": f"{who} edits {number}"}
            case "delete":
                yield "DELETE", f"{chat}/{id}", None
            case "react":
                yield "PUT", f"{chat}/{id}/reactions/{'👍🔥'[number % 2]}", None
            case "unreact":
                yield "DELETE", f"{chat}/{id}/reactions/{'👍🔥'[number % 2]}", None
            case "pin":
                yield "PUT", f"{chat}/pins/{id}", None
            case "unpin":
                yield "DELETE", f"{chat}/pins/{id}", None
            case "mode":
                yield "PATCH", f"{chat}/mode", {"delay": (number % 3) * 5, "unique": number == 4}
            case "ban":
                yield "PUT", f"{chat}/bans/{person}", ban
            case "unban":
                yield "DELETE", f"{chat}/bans/{person}", None
            case "moderator":
                yield ("PUT" if number % 2 else "DELETE"), f"{chat}/moderators/{person}", None
            case "emote":
                yield ("PUT" if number % 3 else "DELETE"), f"{chat}/emotes/hype", {"art": "🔥"} if number % 3 else None

    async def do(self, who: str, kind: str, number: int) -> None:
        if kind == "later":  # what is held back is shown
            self.clock.at += timedelta(seconds=6)
            for _ in range(2):
                await self.server.chat._held._look()
        for method, path, body in self._paths(kind, number, who):
            options = {"json": body} if body is not None else {}
            async with self.server.call(method, path, who, **options) as answer:
                assert answer.status < 500, await answer.text()
                if method == "POST" and answer.status == 201:
                    self.ids.append((await answer.json())["id"])
        self.clock.at += timedelta(milliseconds=10)

    async def look(self) -> None:
        for viewer in VIEWERS:
            self.readers.append((viewer, await self.now(viewer)))

    async def now(self, viewer: str) -> Reader:
        return Reader(await self.server.json("GET", f"{self.room.id}/chat/state", viewer))

    async def agree(self) -> None:
        for viewer, reader in self.readers:
            began = reader.offset
            while True:
                log = await self.server.json("GET", f"{self.room.id}/chat?since={reader.offset}&limit=7", viewer)
                for item in log["items"]:
                    reader.apply(item["offset"], item["data"])
                if reader.offset == log["head"]:
                    break
            fresh = await self.now(viewer)
            assert reader.seen() == fresh.seen(), (viewer, began)


async def test_the_state_and_the_changes_after_it_are_the_state(database: Database, tmp_path: Any) -> None:
    """Hypothesis runs in a thread of its own, and each of its plays in this loop."""
    world, clock = World(), Clock()
    options = ChatOptions(burst=10_000, reaction_burst=10_000, state_messages=500, state_seconds=0)
    loop = asyncio.get_running_loop()
    for name in PEOPLE:
        world.person(name)
    async with Server(database, world, options=options, clock=clock) as server:

        async def play(steps: list[tuple[str, str, int]]) -> None:
            one = Play(server, world, clock)
            mod, shade = (world.person(name).user_id for name in ("mod", "shade"))
            # what is of the channel outlives a room
            await server.json("PUT", f"{one.room.id}/chat/moderators/{mod}", "owner", 204)
            await server.json("PUT", f"{one.room.id}/chat/bans/{shade}", "owner", json={"kind": "shadow"})
            await one.look()
            for number, step in enumerate(steps):
                await one.do(*step)
                if number % 5 == 4:
                    await one.look()
            await one.agree()

        @settings(
            max_examples=12, deadline=None, database=None, derandomize=True,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        )  # fmt: skip
        @given(STEPS)
        def explore(steps: list[tuple[str, str, int]]) -> None:
            asyncio.run_coroutine_threadsafe(play(steps), loop).result(120)

        await asyncio.to_thread(explore)


async def test_the_socket_ends_in_the_same_state(server: Server, world: World) -> None:
    """Everybody's view over `live:`, and there his own to one of whom others do not see all; the staff's over `staff:`;
    the same since over both and over HTTP.
    """
    room = world.broadcast()
    clients = {name: await server.connect(name) for name in ("owner", "ann", "shade")}
    guest = await server.connect()
    readers = {}
    for name, client, channel in (
        ("", guest, channel_of(room.id)),
        ("shade", clients["shade"], channel_of(room.id)),
        ("owner", clients["owner"], staff_channel_of(room.id)),
    ):
        readers[name] = Reader(await server.json("GET", f"{room.id}/chat/state", name))
        ack = await client.ask("subscribe", channel=channel, since={"epoch": "1", "offset": 0})
        assert ack["recovered"] is True
    channel = channel_of(room.id)

    async def do(who: str, **data: Any) -> Any:
        ack = await clients[who].ask("publish", channel=channel, data=data)
        assert ack["type"] == "ack", ack
        return ack["data"]

    shade = str(world.person("shade").user_id)
    first = (await do("ann", text="first"))["message"]["id"]
    await do("owner", ban=shade, kind="shadow")
    hidden = (await do("shade", text="unseen"))["message"]["id"]
    await do("shade", react=first, emoji="🔥")
    await do("ann", edit=first, text="second")
    await do("ann", react=first, emoji="👍")
    await do("owner", pin=first)
    await do("owner", mode={"slow": 0, "emotes": True})
    await eventually(lambda: len(clients["shade"].offsets(channel)) >= 8)
    assert [told["data"] for told in clients["shade"].told if told["type"] == "message"][2]["message"][
        "text"
    ] == "unseen"
    # he comes back, over either way, and finds his own; others do not
    again = await clients["shade"].ask("subscribe", channel=channel, since={"epoch": "1", "offset": 2})
    assert again["messages"][0]["data"]["message"]["text"] == "unseen"
    assert again["messages"][1]["data"]["counts"] == {"🔥": 1}
    other = await guest.ask("subscribe", channel=channel, since={"epoch": "1", "offset": 2})
    assert [item["data"] for item in other["messages"][:2]] == [{"kind": "hidden"}] * 2
    await do("owner", delete=hidden)
    await do("owner", unban=shade)
    head = (await server.json("GET", f"{room.id}/chat"))["head"]
    for name, client, channel in (
        ("", guest, channel_of(room.id)),
        ("shade", clients["shade"], channel_of(room.id)),
        ("owner", clients["owner"], staff_channel_of(room.id)),
    ):
        await eventually(lambda client=client, channel=channel: len(client.offsets(channel)) == head)  # type: ignore[misc]
        for told in client.told:
            if told["type"] == "message" and told["channel"] == channel:
                readers[name].apply(told["offset"], told["data"])
        fresh = Reader(await server.json("GET", f"{room.id}/chat/state", name))
        assert readers[name].seen() == fresh.seen()
    # what was said first is in nobody's memory any more
    again = await guest.ask("subscribe", channel=channel_of(room.id), since={"epoch": "1", "offset": 0})
    assert "first" not in str(again["messages"])
    assert "unseen" not in str(again["messages"])
