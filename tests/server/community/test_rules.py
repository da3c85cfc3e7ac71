"""Who may do what in a chat, under which mode, and how much of it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from server.community.chat.errors import NotStored
from server.community.chat.models import channel_of, staff_channel_of
from server.community.chat.personal import ChatData
from server.community.chat.service import ChatOptions
from server.kit.clock import now
from storage.postgres import Database
from tests.server.community.conftest import Broadcast, Server, World
from tests.support import eventually

ROLES = ("viewer", "author", "mod", "owner", "platform")


async def say(server: Server, room: Broadcast, who: str, text: str = "hi", status: int = 201, **more: Any) -> Any:
    return await server.json("POST", f"{room.id}/chat", who, status, json={"text": text, **more})


async def appoint(server: Server, world: World, room: Broadcast, who: str = "mod") -> None:
    await server.json("PUT", f"{room.id}/chat/moderators/{world.person(who).user_id}", "owner", 204)


async def mode(server: Server, room: Broadcast, **given: Any) -> Any:
    return await server.json("PATCH", f"{room.id}/chat/mode", "owner", json=given)


async def ban(server: Server, world: World, room: Broadcast, who: str, by: str = "owner", **given: Any) -> Any:
    return await server.json("PUT", f"{room.id}/chat/bans/{world.person(who).user_id}", by, json=given)


# who: the least that each may; everybody to the right of it may too. None: nobody of these but the author himself.
DEEDS: list[tuple[str, str, str, Any, set[str]]] = [
    ("write", "POST", "", {"text": "x"}, set(ROLES)),
    ("edit", "PATCH", "/{message}", {"text": "other"}, {"author"}),
    ("delete", "DELETE", "/{message}", None, {"author", "mod", "owner", "platform"}),
    ("react", "PUT", "/{message}/reactions/👍", None, set(ROLES)),
    ("pin", "PUT", "/pins/{message}", None, {"mod", "owner", "platform"}),
    ("unpin", "DELETE", "/pins/{message}", None, {"mod", "owner", "platform"}),
    ("mode", "PATCH", "/mode", {"slow": 1}, {"mod", "owner", "platform"}),
    ("ban", "PUT", "/bans/{victim}", {"kind": "ban"}, {"mod", "owner", "platform"}),
    ("shadow ban", "PUT", "/bans/{victim}", {"kind": "shadow"}, {"mod", "owner", "platform"}),
    ("unban", "DELETE", "/bans/{victim}", None, {"mod", "owner", "platform"}),
    ("list bans", "GET", "/bans", None, {"mod", "owner", "platform"}),
    ("add filter", "POST", "/filters", {"pattern": "x"}, {"mod", "owner", "platform"}),
    ("list filters", "GET", "/filters", None, {"mod", "owner", "platform"}),
    ("emote", "PUT", "/emotes/hype", {"art": "🔥"}, {"owner", "platform"}),
    ("appoint", "PUT", "/moderators/{victim}", None, {"owner", "platform"}),
    ("dismiss", "DELETE", "/moderators/{victim}", None, {"owner", "platform"}),
    ("ban the owner", "PUT", "/bans/{owner}", {}, {"platform"}),
    ("ban a moderator", "PUT", "/bans/{mod}", {}, {"owner", "platform"}),
    ("read", "GET", "/state", None, set(ROLES)),
]


@pytest.mark.parametrize(("deed", "method", "path", "body", "allowed"), DEEDS, ids=[deed[0] for deed in DEEDS])
async def test_every_deed_by_every_role(
    server: Server, world: World, deed: str, method: str, path: str, body: Any, allowed: set[str]
) -> None:
    for role in ROLES:
        room = world.broadcast()
        world.person("platform", "moderator")
        await appoint(server, world, room)
        message = await say(server, room, "author")
        names = {"message": message["id"], **{n: world.person(n).user_id for n in ("victim", "owner", "mod")}}
        options = {"json": body} if body is not None else {}
        async with server.call(method, f"{room.id}/chat{path.format(**names)}", role, **options) as answer:
            assert (answer.status < 300) is (role in allowed), (role, answer.status, await answer.text())
            if role not in allowed:
                assert answer.status == 403
                assert (await answer.json())["code"] == "forbidden"
        if deed.startswith(("ban", "shadow")):
            for who in ("victim", "owner", "mod"):
                await server.json("DELETE", f"{room.id}/chat/bans/{world.person(who).user_id}", "platform", 204)


async def test_a_moderator_leaves_the_owner_and_other_moderators_alone_and_may_step_down(
    server: Server, world: World
) -> None:
    room = world.broadcast()
    for name in ("mod", "other"):
        await appoint(server, world, room, name)
    for name in ("owner", "other"):
        message = await say(server, room, name)
        await server.json("DELETE", f"{room.id}/chat/{message['id']}", "mod", 403)
    mod = await server.connect("mod")
    await mod.ask("subscribe", channel=staff_channel_of(room.id))
    await server.json("DELETE", f"{room.id}/chat/moderators/{world.person('mod').user_id}", "mod", 204)
    closed = await mod.hear("closed")  # a right that is lost ends at once
    assert (closed["channel"], closed["code"]) == (staff_channel_of(room.id), "forbidden")
    assert (await mod.ask("subscribe", channel=staff_channel_of(room.id)))["code"] == "forbidden"
    guest = await server.connect()
    assert (await guest.ask("subscribe", channel=staff_channel_of(room.id)))["code"] == "unauthenticated"
    assert {event for event, *_ in world.audited} == {"chat.moderator_added", "chat.moderator_removed"}


async def test_modes(server: Server, world: World) -> None:
    room = world.broadcast()
    await appoint(server, world, room)
    for given, text, code in (
        ({"emotes": True}, "hello 🔥", "emotes_only"),
        ({"unique": True}, "Hi!", "not_unique"),
        ({"slow": 60}, "more", "slow_mode"),
    ):
        await say(server, room, "ann", "hi")
        await mode(server, room, emotes=False, unique=False, slow=0)
        assert (await mode(server, room, **given)).items() >= given.items()
        refused = await say(server, room, "ann", text, 429 if code == "slow_mode" else 403)
        assert refused["code"] == code
        if code == "slow_mode":
            assert 50 < refused["retry_after"] <= 60
        for name in ("owner", "mod"):
            await say(server, room, name, text)  # exempt
        await mode(server, room, emotes=False, unique=False, slow=0)
    await mode(server, room, emotes=True)
    await say(server, room, "bob", "🔥 :heart: 👩‍👩‍👧 🇵🇰 1️⃣ ❤️")
    for text in ("🔥x", ":nosuch:", "1", "#", "🇵", "©️ and"):
        assert (await say(server, room, "bob", text, 403))["code"] == "emotes_only"
    await server.json("PUT", f"{room.id}/chat/emotes/nosuch", "owner", json={"art": "🐉"})
    await say(server, room, "bob", ":nosuch:")


async def test_a_mode_whose_data_does_not_exist_is_refused_and_works_once_it_does(server: Server, world: World) -> None:
    room = world.broadcast()
    for given in ({"followers": 10}, {"subscribers": True}):
        refused = await server.json("PATCH", f"{room.id}/chat/mode", "owner", 409, json=given)
        assert refused["code"] == "mode_unavailable"
    world.bonds |= {"followers", "subscribers"}
    await mode(server, room, followers=10)
    ann = world.person("ann").user_id
    assert (await say(server, room, "ann", status=403))["code"] == "followers_only"
    world.following[ann] = now() - timedelta(minutes=4)
    refused = await say(server, room, "ann", status=403)
    assert (refused["code"], 300 < refused["retry_after"] <= 360) == ("followers_only", True)
    world.following[ann] = now() - timedelta(minutes=11)
    await say(server, room, "ann")
    await mode(server, room, followers=None, subscribers=True)
    assert (await say(server, room, "ann", status=403))["code"] == "subscribers_only"
    world.subscribed.add(ann)
    await say(server, room, "ann")


async def test_a_time_out_ends_a_ban_does_not_and_both_say_why(database: Database, world: World) -> None:
    at = now()
    async with Server(database, world, clock=lambda: at) as server:
        room = world.broadcast()
        message = await say(server, room, "ann")
        view = await ban(server, world, room, "ann", kind="timeout", seconds=60, reason="Calm down", clear=True)
        assert view["user"]["username"] == "ann"
        refused = await say(server, room, "ann", status=403)
        assert (refused["code"], refused["reason"], refused["retry_after"]) == ("banned", "Calm down", 60.0)
        me = await server.json("GET", f"{room.id}/chat/me", "ann")
        assert (me["role"], me["ban"]["kind"], me["ban"]["reason"]) == ("viewer", "timeout", "Calm down")
        await server.json("GET", f"{room.id}/chat/{message['id']}", status=404)  # cleared
        guest = (await server.json("GET", f"{room.id}/chat"))["items"]
        told = next(item["data"] for item in guest if item["data"]["kind"] == "ban")
        assert "reason" not in told
        assert "by" not in told
        at += timedelta(seconds=61)
        await say(server, room, "ann")
        await ban(server, world, room, "ann")
        second = world.broadcast()  # of the same owner
        assert (await say(server, second, "ann", status=403))["until"] is None
        for method in ("PUT", "DELETE"):
            reactions = f"{room.id}/chat/{message['id']}/reactions/👍"
            assert (await server.json(method, reactions, "ann", 404))["code"] == "unknown_message"
        await server.json("DELETE", f"{room.id}/chat/bans/{world.person('ann').user_id}", "owner", 204)
        await say(server, room, "ann")
    assert [event for event, *_ in world.audited] == ["chat.timed_out", "chat.banned", "chat.unbanned"]
    ann_id, owner_id = world.person("ann").user_id, world.person("owner").user_id
    assert {line[1:] for line in world.audited} == {(ann_id, owner_id)}


async def test_a_shadow_ban_is_seen_by_nobody_who_is_not_to(server: Server, world: World) -> None:
    room = world.broadcast()
    shade, bob, owner = await server.connect("shade"), await server.connect("bob"), await server.connect("owner")
    for client in (shade, bob):
        await client.ask("subscribe", channel=channel_of(room.id))
    await owner.ask("subscribe", channel=staff_channel_of(room.id))
    bobs = await say(server, room, "bob", "hello")
    await ban(server, world, room, "shade", kind="shadow", reason="spam")
    ack = await shade.ask("publish", channel=channel_of(room.id), data={"text": "buy this", "nonce": "n"})
    message = ack["data"]["message"]
    assert "hidden" not in message
    assert (message["offset"], ack["offset"]) == (3, 3)
    assert (await bob.hear("message", offset=3))["data"] == {"kind": "hidden"}
    staff = (await owner.hear("message", offset=3))["data"]["message"]
    assert (staff["text"], staff["hidden"]) == ("buy this", "shadowed")
    counts = await shade.ask("publish", channel=channel_of(room.id), data={"react": bobs["id"], "emoji": "👍"})
    assert counts["data"]["counts"] == {"👍": 1}
    reply = await say(server, room, "shade", "and this", reply_to=message["id"])
    assert (await say(server, room, "bob", "?", 404, reply_to=message["id"]))["code"] == "unknown_message"

    # history, state, replay, one message: his own view has no mark and no hole, others' have nothing of it
    for path in ("chat?since=0", "chat/state", "chat/replay"):
        own = await server.json("GET", f"{room.id}/{path}", "shade")
        assert all(text in str(own) for text in ("buy this", "and this")), path
        assert "shadow" not in str(own), path
        for other in ("", "bob"):
            theirs = str(await server.json("GET", f"{room.id}/{path}", other))
            assert not any(text in theirs for text in ("buy this", reply["id"], "shade")), path
        assert "'hidden': 'shadowed'" in str(await server.json("GET", f"{room.id}/{path}", "owner"))
    log = await server.json("GET", f"{room.id}/chat?since=0", "shade")
    assert [item["offset"] for item in log["items"]] == list(range(1, 6))
    assert (await server.json("GET", f"{room.id}/chat/{bobs['id']}", "shade"))["reactions"] == {"👍": 1}
    assert (await server.json("GET", f"{room.id}/chat/{bobs['id']}"))["reactions"] == {}
    await server.json("GET", f"{room.id}/chat/{message['id']}", "bob", 404)
    await server.json("PUT", f"{room.id}/chat/{message['id']}/reactions/👍", "bob", 404)
    assert (await server.json("GET", f"{room.id}/chat/me", "shade"))["ban"] is None
    # the socket's recovery is everybody's
    again = await bob.ask("subscribe", channel=channel_of(room.id), since={"epoch": "1", "offset": 0})
    assert "buy this" not in str(again)
    assert "shade" not in str(again)
    # a line about it stands in the log of who did it, not of whom it was done to
    shadow = [line for line in world.audited if line[0] == "chat.shadow_banned"]
    assert [line[1] for line in shadow] == [world.person("owner").user_id]


async def test_the_delay_holds_back_for_others_and_is_kept_over_a_restart(database: Database, world: World) -> None:
    at = now()
    options = ChatOptions(burst=100, state_seconds=0)
    room = world.broadcast()
    async with Server(database, world, clock=lambda: at, options=options) as server:
        await appoint(server, world, room)
        await mode(server, room, delay=10)
        held, gone = await say(server, room, "ann", "later"), await say(server, room, "ann", "never")
        await say(server, room, "mod", "at once")
        await server.json("DELETE", f"{room.id}/chat/{gone['id']}", "mod", 204)
        for viewer, texts in (("", ["at once"]), ("bob", ["at once"]), ("ann", ["later", "at once"])):
            state = await server.json("GET", f"{room.id}/chat/state", viewer)
            assert [message["text"] for message in state["messages"]] == texts
        state = await server.json("GET", f"{room.id}/chat/state", "mod")
        assert [message.get("hidden") for message in state["messages"]] == ["held", None]
    at += timedelta(seconds=11)
    async with Server(database, world, clock=lambda: at, options=options) as server:
        guest = await server.connect()
        await guest.ask("subscribe", channel=channel_of(room.id))
        server.chat._held.expect(at)

        async def shown() -> bool:
            return len((await server.json("GET", f"{room.id}/chat/state"))["messages"]) == 2

        await eventually(shown)
        assert (await guest.hear("message"))["data"]["message"]["id"] == held["id"]
        assert "never" not in str(await server.json("GET", f"{room.id}/chat?since=0"))


async def test_word_filters(server: Server, world: World) -> None:
    room = world.broadcast()
    await appoint(server, world, room)
    for pattern, action in (("darn", "refuse"), ("*spoil*", "mask"), ("buy now", "shadow")):
        body = {"pattern": pattern, "action": action}
        made = await server.json("POST", f"{room.id}/chat/filters", "mod", json=body)
    for text in ("oh DARN it", "d\u200ba\u0301rn!", "\uff44\uff41\uff52\uff4e"):
        assert (await say(server, room, "ann", text, 403))["code"] == "filtered"
    await say(server, room, "ann", "darning is fine")
    masked = await say(server, room, "ann", "a Spoiler, unspoilt")
    assert masked["text"] == "a *******, ********"
    hidden = await say(server, room, "ann", "BUY  now!!")
    await server.json("GET", f"{room.id}/chat/{hidden['id']}", "bob", 404)
    assert (await server.json("PATCH", f"{room.id}/chat/{masked['id']}", "ann", 403, json={"text": "darn"}))[
        "code"
    ] == "filtered"
    await say(server, room, "mod", "darn")  # the staff is exempt
    for pattern in ("***", "  ", "!?", "*a*"):
        refused = await server.json("POST", f"{room.id}/chat/filters", "mod", 422, json={"pattern": pattern})
        assert refused["code"] == "bad_pattern"
    await server.json("DELETE", f"{room.id}/chat/filters/{made['id']}", "mod", 204)
    await server.json("DELETE", f"{room.id}/chat/filters/{made['id']}", "mod", 404)
    assert "filters" not in str(await server.json("GET", f"{room.id}/chat?since=0"))


async def test_every_amount_is_bounded(database: Database, world: World) -> None:
    options = ChatOptions(
        burst=100, reactions=2, pins=1, moderators=1, bans=1, filters=1, emotes=1, mentions=1, slow_most=10,
        delay_most=5, timeout_days=1, edit_seconds=0, clear_most=1, reaction_burst=4, reaction_interval=60,
    )  # fmt: skip
    room = world.broadcast()
    async with Server(database, world, options=options) as server:
        chat = f"{room.id}/chat"
        one, two = await say(server, room, "ann", "@bob @owner"), await say(server, room, "ann", "2")
        for name in ("bob", "cat"):
            world.person(name)
        assert "mentions" not in one or len(one["mentions"]) == 1
        for path, ok, many in (
            ("pins/{}", one["id"], two["id"]),
            ("moderators/{}", world.person("bob").user_id, world.person("cat").user_id),
        ):
            await server.json("PUT", f"{chat}/{path.format(ok)}", "owner", 204)
            await server.json("PUT", f"{chat}/{path.format(ok)}", "owner", 204)  # is there already
            assert (await server.json("PUT", f"{chat}/{path.format(many)}", "owner", 409))["code"] == "too_many"
        await ban(server, world, room, "ann", clear=True)  # the latest message alone
        await server.json("GET", f"{chat}/{two['id']}", status=404)
        await server.json("GET", f"{chat}/{one['id']}")
        cat = world.person("cat").user_id
        assert (await server.json("PUT", f"{chat}/bans/{cat}", "owner", 409, json={}))["code"] == "too_many"
        await server.json("DELETE", f"{chat}/bans/{world.person('ann').user_id}", "owner", 204)
        for body in ({"kind": "timeout"}, {"kind": "ban", "seconds": 5}, {"kind": "timeout", "seconds": 86401}):
            assert (await server.json("PUT", f"{chat}/bans/{cat}", "owner", 422, json=body))["code"] == "bad_ban"
        assert (await server.json("PUT", f"{chat}/bans/{uuid4()}", "owner", 404, json={}))["code"] == "unknown_user"
        await server.json("POST", f"{chat}/filters", "owner", json={"pattern": "a"})
        assert (await server.json("POST", f"{chat}/filters", "owner", 409, json={"pattern": "b"}))["code"] == "too_many"
        await server.json("PUT", f"{chat}/emotes/aa", "owner", json={"art": "🔥"})
        assert (await server.json("PUT", f"{chat}/emotes/bb", "owner", 409, json={"art": "🔥"}))["code"] == "too_many"
        for name, art in (("aa", "x"), ("aa", "🔥  🔥"), ("A", "🔥"), ("a" * 33, "🔥")):
            refused = await server.json("PUT", f"{chat}/emotes/{name}", "owner", 422, json={"art": art})
            assert refused["code"] == "bad_emote"
        for given in ({"slow": 11}, {"delay": 6}):
            assert (await server.json("PATCH", f"{chat}/mode", "owner", 422, json=given))["code"] == "bad_mode"
        assert (await server.json("PATCH", f"{chat}/{one['id']}", "ann", 409, json={"text": "x"}))["code"] == "too_late"
        reactions = f"{chat}/{one['id']}/reactions"
        for emoji in ("x", "🔥🔥", ":nosuch:", "👍" + "\u200d" * 8):
            assert (await server.json("PUT", f"{reactions}/{emoji}", "owner", 422))["code"] == "bad_reaction", emoji
        for emoji, status in (("👍", 200), ("🔥", 200), ("🎉", 409), ("👍", 200)):
            await server.json("PUT", f"{reactions}/{emoji}", "dan", status)
        assert (await server.json("PUT", f"{reactions}/👍", "dan", 429))["code"] == "rate_limited"


async def test_the_ack_says_what_is_left(database: Database, world: World) -> None:
    room = world.broadcast()
    async with Server(database, world, burst=2) as server:
        ann = await server.connect("ann")
        acks = [(await ann.ask("publish", channel=channel_of(room.id), data={"text": str(n)})) for n in range(2)]
        allowances = [ack["data"]["allowance"] for ack in acks]
        assert [one["left"] for one in allowances] == [1, 0]
        assert allowances[0]["next_in"] == 0
        assert 0 < allowances[1]["next_in"] <= 2
        await mode(server, room, slow=30)
        async with server.call("POST", f"{room.id}/chat", "bob", json={"text": "x"}) as answer:
            assert (answer.headers["Chat-Left"], answer.headers["Chat-Next"]) == ("0", "30")
        for _ in range(4):  # moderators are exempt
            async with server.call("POST", f"{room.id}/chat", "owner", json={"text": "x"}) as answer:
                assert answer.status == 201
                assert "Chat-Left" not in answer.headers


async def test_an_edit_leaves_nothing_of_what_stood_there(server: Server, world: World, database: Database) -> None:
    room = world.broadcast()
    guest = await server.connect()
    await guest.ask("subscribe", channel=channel_of(room.id))
    message = await say(server, room, "ann", "first secret")
    for text in ("second secret", "third secret", "final"):
        edited = await server.json("PATCH", f"{room.id}/chat/{message['id']}", "ann", json={"text": text})
    assert edited["edited_at"]
    assert edited["text"] == "final"
    await guest.hear("message", offset=4)
    for since in (0, 1, 2):
        ack = await guest.ask("subscribe", channel=channel_of(room.id), since={"epoch": "1", "offset": since})
        log = await server.json("GET", f"{room.id}/chat?since={since}")
        for items in (ack["messages"], log["items"]):
            assert "secret" not in str(items)
            assert "final" in str(items)
    replay = await server.json("GET", f"{room.id}/chat/replay")
    assert [one["text"] for one in replay["items"]] == ["final"]
    await server.json("DELETE", f"{room.id}/chat/{message['id']}", "ann", 204)
    await guest.hear("message", offset=5)
    ack = await guest.ask("subscribe", channel=channel_of(room.id), since={"epoch": "1", "offset": 0})
    assert "final" not in str(ack)
    assert "final" not in str(await server.json("GET", f"{room.id}/chat?since=0"))


async def test_what_happens_at_once_happens_in_one_order(server: Server, world: World) -> None:
    """Edit and delete, ban and write, mode and write: each before or after the other, and the log says which."""
    for _ in range(5):
        room = world.broadcast()
        guest = await server.connect()
        await guest.ask("subscribe", channel=channel_of(room.id))
        message = await say(server, room, "ann", "first")
        chat, ann = f"{room.id}/chat", world.person("ann").user_id

        async def status(method: str, path: str, who: str, **options: Any) -> int:
            async with server.call(method, path, who, **options) as answer:
                return answer.status

        edited, deleted, *written, banned, slowed = await asyncio.gather(
            status("PATCH", f"{chat}/{message['id']}", "ann", json={"text": "second"}),
            status("DELETE", f"{chat}/{message['id']}", "owner"),
            *(status("POST", chat, "ann", json={"text": str(n)}) for n in range(8)),
            status("PUT", f"{chat}/bans/{ann}", "owner", json={}),
            status("PATCH", f"{chat}/mode", "owner", json={"slow": 100}),
        )
        assert (deleted, banned, slowed) == (204, 200, 200)
        assert edited in (200, 403, 404)
        assert set(written) <= {201, 403, 429}
        log = await server.json("GET", f"{chat}?since=0&limit=100")
        assert [item["offset"] for item in log["items"]] == list(range(1, log["head"] + 1))
        kinds = [item["data"]["kind"] for item in log["items"]]
        assert kinds.count("message") == 1 + written.count(201)
        # after the ban nothing of his, after slow mode one at most
        assert "message" not in kinds[kinds.index("ban") :]
        assert kinds[kinds.index("mode") :].count("message") == 0  # he has written a moment before
        assert (edited == 200) is ("edit" in kinds)
        if edited == 200:
            assert kinds.index("edit") < kinds.index("delete")
        await server.json("DELETE", f"{chat}/bans/{ann}", "owner", 204)
        log["head"] += 1
        await eventually(
            lambda guest=guest, room=room, head=log["head"]: len(guest.offsets(channel_of(room.id))) == head
        )  # type: ignore[misc]


async def test_a_crowd_that_comes_back_costs_no_query(world: World, database: Database) -> None:
    lasting = ChatOptions(burst=1000, interval=2.0, state_seconds=600.0)  # what was read stays known while this runs
    async with Server(database, world, options=lasting) as server:
        await _comes_back(server, world, database)


async def _comes_back(server: Server, world: World, database: Database) -> None:
    room = world.broadcast()
    for number in range(20):
        await say(server, room, "ann", str(number))
    clients = [await server.connect() for _ in range(30)]
    await clients[0].ask("subscribe", channel=channel_of(room.id))  # the channel is open here
    await server.json("GET", f"{room.id}/chat/state")
    queries: list[str] = []
    acquire = database.acquire

    def counted() -> Any:
        queries.append("")
        return acquire()

    heads = server.chat.store.heads
    server.chat.store.heads = _nothing  # type: ignore[method-assign]  # the hub's own comparison, not the crowd's
    database.acquire = counted  # type: ignore[method-assign]
    try:
        acks = await asyncio.gather(
            *(
                client.ask("subscribe", channel=channel_of(room.id), since={"epoch": "1", "offset": number % 20})
                for number, client in enumerate(clients)
            )
        )
        states = await asyncio.gather(*(server.json("GET", f"{room.id}/chat/state") for _ in range(30)))
        logs = await asyncio.gather(*(server.json("GET", f"{room.id}/chat?since={n % 20}") for n in range(30)))
    finally:
        del database.acquire  # type: ignore[method-assign]
        server.chat.store.heads = heads  # type: ignore[method-assign]
    assert all(ack["recovered"] and len(ack["messages"]) == 20 - n % 20 for n, ack in enumerate(acks))
    assert {state["offset"] for state in states} == {20}
    assert all(len(log["items"]) == 20 - n % 20 for n, log in enumerate(logs))
    assert len(queries) <= 4, "the states and the logs are read once for all"


async def _nothing(_: Any) -> Any:
    raise NotStored("not now")


@pytest.mark.parametrize(
    "data",
    [
        {"edit": "x", "text": "y"},
        {"edit": str(uuid4())},
        {"react": str(uuid4()), "emoji": ""},
        {"react": str(uuid4()), "emoji": "x" * 40},
        {"pin": 5},
        {"mode": {"slow": -1}},
        {"mode": {"slow": 1e9}},
        {"mode": {"nosuch": 1}},
        {"mode": []},
        {"ban": str(uuid4()), "kind": "exile"},
        {"ban": str(uuid4()), "reason": "x" * 201},
        {"text": "x", "reply_to": "x"},
        {"text": "x", "delete": str(uuid4())},
    ],
)
async def test_deeds_that_make_no_sense(server: Server, world: World, data: dict[str, Any]) -> None:
    room = world.broadcast()
    owner = await server.connect("owner")
    assert (await owner.ask("publish", channel=channel_of(room.id), data=data))["code"] == "bad_message"
    assert (await server.json("GET", f"{room.id}/chat"))["head"] == 0


async def test_a_reply_and_a_mention(server: Server, world: World) -> None:
    room = world.broadcast()
    for name in ("ann", "bob"):
        world.person(name)
    first = await say(server, room, "ann", "hello")
    reply = await say(server, room, "bob", "hi @ann, @ann and @nobody, mail a@bob", reply_to=first["id"])
    assert (reply["reply_to"], reply["mentions"]) == (first["id"], [str(world.person("ann").user_id)])
    owners = await say(server, room, "owner", "welcome")
    assert owners["badge"] == "owner"
    await server.json("DELETE", f"{room.id}/chat/{first['id']}", "ann", 204)
    assert (await say(server, room, "bob", "again", 404, reply_to=first["id"]))["code"] == "unknown_message"


async def test_nothing_of_a_person_stays_in_a_chat(server: Server, world: World, database: Database) -> None:
    """Messages, edits, reactions, mentions, bans for and by him, what he moderates, what is his channel's."""
    room = world.broadcast("ann")  # his own
    other = world.broadcast("owner")
    ann = world.person("ann").user_id
    reader = await server.connect()
    await reader.ask("subscribe", channel=channel_of(other.id))
    await appoint(server, world, other, "ann")
    his = await say(server, other, "ann", "marzipan")
    await server.json("PATCH", f"{other.id}/chat/{his['id']}", "ann", json={"text": "more marzipan"})
    theirs = await say(server, other, "bob", "hello @ann", reply_to=his["id"])
    for who in ("ann", "bob"):
        await server.json("PUT", f"{other.id}/chat/{theirs['id']}/reactions/🔥", who)
    await server.json("PUT", f"{other.id}/chat/pins/{his['id']}", "ann", 204)
    await ban(server, world, other, "cat", by="ann", reason="spam")
    await server.json("POST", f"{other.id}/chat/filters", "ann", json={"pattern": "nougat"})
    for path, body in (("mode", {"slow": 5}), (f"bans/{world.person('bob').user_id}", {})):
        method = "PATCH" if path == "mode" else "PUT"
        await server.json(method, f"{room.id}/chat/{path}", "ann", json=body)
    await server.json("PUT", f"{room.id}/chat/emotes/hype", "ann", json={"art": "🔥"})
    await server.json("DELETE", f"{other.id}/chat/moderators/{ann}", "owner", 204)
    await ban(server, world, other, "ann", kind="shadow", reason="he of marzipan")
    await say(server, other, "ann", "unseen marzipan")
    data = ChatData(database)
    files = {}
    async for item in data.export(ann, media=True):
        files[item.name] = json.loads(b"".join([piece async for piece in item.content]))
    assert [one["text"] for one in files["chat/messages.json"]] == ["more marzipan", "unseen marzipan"]
    assert [one["emoji"] for one in files["chat/reactions.json"]] == ["🔥"]
    rules = files["chat/rules.json"]
    assert {name: len(found) for name, found in rules.items()} == {
        "banned": 1, "moderates": 0, "bans": 1, "moderators": 0, "filters": 0, "emotes": 1,
    }  # fmt: skip

    await data.erase(ann)
    await data.erase(ann)  # after a crash it is asked again
    async with database.acquire() as connection:
        for table in ("rooms", "messages", "log", "reactions", "bans", "moderators", "filters", "emotes"):
            rows = await connection.fetch(f"select t::text as row from chat_{table} t")
            for row in rows:
                assert not any(text in row["row"] for text in (str(ann), "marzipan", ",ann,")), table
    log = await server.json("GET", f"{other.id}/chat?since=0&limit=100", "owner")
    assert [item["offset"] for item in log["items"]] == list(range(1, log["head"] + 1))
    await eventually(lambda: len(reader.offsets(channel_of(other.id))) == log["head"])
    again = await reader.ask("subscribe", channel=channel_of(other.id), since={"epoch": "1", "offset": 0})
    assert "marzipan" not in str(again)
    found = await server.json("GET", f"{other.id}/chat/{theirs['id']}")
    assert (found["reactions"], found.get("mentions")) == ({"🔥": 1}, None)
    state = await server.json("GET", f"{other.id}/chat/state")
    assert (state["pins"], [message["text"] for message in state["messages"]]) == ([], ["hello @ann"])
