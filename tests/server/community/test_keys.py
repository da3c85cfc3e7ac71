"""Programs with API keys in the chat: what their scopes open over HTTP, they open over the socket, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.community.chat.models import channel_of
from tests.server.community.conftest import Server, World


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [
        ({"chat:read", "chat:write"}, True, True),
        ({"chat:read"}, True, False),
        ({"chat:write"}, False, True),
        ({"live:read", "live:write"}, False, False),
    ],
)
async def test_scopes_hold_on_the_socket(
    server: Server, world: World, scopes: set[str], reads: bool, writes: bool
) -> None:
    room = world.broadcast()
    world.callers["bot"] = replace(world.person("bot"), scopes=frozenset(scopes))
    bot = await server.connect("bot")
    answer = await bot.ask("subscribe", channel=channel_of(room.id))
    assert answer.get("code") == (None if reads else "forbidden"), answer
    answer = await bot.ask("publish", channel=channel_of(room.id), data={"text": "beep"})
    assert answer.get("code") == (None if writes else "forbidden"), answer
    async with server.call("GET", f"{room.id}/chat", "bot") as response:
        assert response.status == (200 if reads else 403)
    async with server.call("POST", f"{room.id}/chat", "bot", json={"text": "beep"}) as response:
        assert response.status == (201 if writes else 403)
