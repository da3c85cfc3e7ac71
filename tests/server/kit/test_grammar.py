"""What a route declares, and the wrapper does: audit lines, step-up, If-Match, signed cursors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.kit.http import Access, Call, Routes, install
from server.kit.http.cursors import CursorSigner
from server.kit.problems import BadCursor
from server.settings import Settings
from storage.postgres import Database
from tests.server.kit.shop import Audited, Client, Shop, headers, serve

ORDERS = "/api/v1/orders"


@pytest.fixture
def shop(database: Database) -> Shop:
    shop = Shop(database, Audited())
    shop.caller("ada", proven_at=time.time())
    shop.caller("bob", proven_at=time.time() - 901)
    return shop


@pytest.fixture
async def client(shop: Shop) -> AsyncIterator[Client]:
    async with serve(shop) as client:
        yield client


async def test_the_audit_line_is_in_the_transaction_of_the_effect(client: Client, shop: Shop) -> None:
    async with client.post(
        "/api/v1/failures", json={"title": "done"}, headers=headers(User_Agent="A browser", X_Request_ID="r1")
    ) as answer:
        assert answer.status == 204
    [(about, event, origin, actor, _)] = shop.audit.lines
    assert (about.int, event, actor) == (7, "something.done", shop.callers["ada"].user_id)
    assert origin is not None
    assert (origin.address, origin.user_agent, origin.request_id) == ("127.0.0.1", "A browser", "r1")
    shop.audit.fails = True
    async with client.post("/api/v1/failures", json={"title": "unlogged"}, headers=headers()) as answer:
        assert answer.status == 500
    assert await shop.count("failures") == 1


async def test_a_refusal_leaves_no_audit_line_and_what_was_counted_stays(client: Client, shop: Shop) -> None:
    async with client.post("/api/v1/failures", json={"title": "refused"}, headers=headers()) as answer:
        assert answer.status == 409
    assert (shop.audit.lines, await shop.count("failures")) == ([], 1)


async def test_step_up(client: Client, shop: Shop) -> None:
    shop.caller("key", scopes=frozenset({"shop:write"}), proven_at=time.time())
    for token, status, code in (("ada", 204, ""), ("bob", 403, "step_up_required"), ("key", 403, "forbidden")):
        async with client.post("/api/v1/sensitive", headers=headers(token)) as answer:
            assert answer.status == status
            assert status == 204 or (await answer.json())["code"] == code
    async with (
        serve(shop, step_up_seconds=1000.0) as lenient,
        lenient.post("/api/v1/sensitive", headers=headers("bob")) as answer,
    ):
        assert answer.status == 204


async def test_an_edit_of_what_was_changed_meanwhile_is_refused(client: Client) -> None:
    async with client.post(ORDERS, json={"title": "book"}, headers=headers()) as answer:
        path = answer.headers["Location"]
    async with client.get(path, headers=headers()) as answer:
        tag = answer.headers["ETag"]
        assert answer.headers["Cache-Control"] == "private, no-cache"
    assert tag.startswith('"1.')  # strong
    async with client.get(path, headers=headers(If_None_Match=f'"x", W/{tag}')) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, tag)

    async def edit(title: str, condition: str | None) -> tuple[int, str, Any]:
        given = headers() if condition is None else headers(If_Match=condition)
        async with client.put(path, json={"title": title}, headers=given) as answer:
            return answer.status, answer.headers.get("ETag", ""), await answer.json()

    assert (await edit("no condition", None))[2]["code"] == "precondition_required"
    status, second, _ = await edit("a", tag)
    assert (status, second.partition(".")[0]) == (200, '"2')
    status, _, problem = await edit("b", tag)
    assert (status, problem["code"]) == (412, "precondition_failed")
    assert (await edit("weak", f"W/{second}"))[0] == 412
    assert (await edit("c", f'"other", {second}'))[0] == 200
    assert (await edit("d", "*"))[0] == 200
    for wrong in ("1", '"a', '"a" "b"', "*, *", ",", "W/", '"a"x'):
        assert (await edit("e", wrong))[0] == 400, wrong
    async with client.get(path, headers=headers(If_None_Match=tag)) as answer:
        assert (answer.status, (await answer.json())["title"]) == (200, "d")


async def walk(client: Client, path: str, token: str = "ada", limit: int = 4) -> tuple[list[str], str]:
    titles: list[str] = []
    cursor = last = ""
    while True:
        query = f"?limit={limit}" + (f"&cursor={cursor}" if cursor else "")
        async with client.get(path + query, headers=headers(token)) as answer:
            page = await answer.json()
            assert answer.status == 200, page
        titles += [item["title"] for item in page["items"]]
        if page["next_cursor"] is None:
            return titles, last
        cursor = last = page["next_cursor"]


async def refused(client: Client, path: str, cursor: str, token: str = "ada") -> None:
    async with client.get(path, params={"cursor": cursor}, headers=headers(token)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "bad_cursor")


async def test_cursors_are_good_for_their_list_and_its_caller(client: Client, shop: Shop) -> None:
    everything = [str(number) for number in range(1, 10)]
    titles, mine = await walk(client, ORDERS)
    assert titles == everything
    titles, cursor = await walk(client, "/api/v1/shops/one/orders")
    assert titles == everything
    # a public list is everybody's; a list of one's own is not
    async with client.get("/api/v1/shops/one/orders", params={"cursor": cursor}, headers=headers("bob")) as answer:
        assert answer.status == 200
    await refused(client, ORDERS, mine, "bob")
    await refused(client, ORDERS, cursor)
    await refused(client, "/api/v1/shops/two/orders", cursor)
    async with serve(shop) as restarted:
        assert (await restarted.get(ORDERS, params={"cursor": mine}, headers=headers())).status == 200
    async with serve(shop, secret="another installation of this product") as foreign:
        await refused(foreign, ORDERS, mine)


signer = CursorSigner(b"k" * 32)


@given(st.data())
def test_a_changed_cursor_is_refused(data: st.DataObject) -> None:
    cursor = signer.sign("list", "WzEyMzRd")
    assert signer.open("list", cursor) == "WzEyMzRd"
    place = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.sampled_from("ABCabc019-_ .é\x00").filter(lambda c: c != cursor[place]))
    for forged in (cursor[:place] + letter + cursor[place + 1 :], cursor[:place], cursor + letter):
        with pytest.raises(BadCursor):
            signer.open("list", forged)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=600))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        signer.open("list", text)


async def test_a_route_cannot_declare_what_is_not_there() -> None:
    api = Routes("x")

    async def nothing(call: Call) -> None:
        pass

    async def itself(call: Call) -> web.Response:
        return web.Response()

    for options in ({"audit": "a.b"}, {"step_up": True}, {"idempotent": True}, {"permission": "x"}):
        with pytest.raises(TypeError, match=r"Access\.USER"):
            api.post("/a", access=Access.ANYONE, **options)(nothing)
    with pytest.raises(TypeError, match="not a response"):
        api.post("/a", access=Access.USER, idempotent=True)(itself)
    api.post("/a", access=Access.USER, idempotent=True, audit="a.b")(nothing)
    with pytest.raises(TypeError, match="secrets, database, audit"):
        install(web.Application(), [api], authenticator=Shop(Database("", max_size=1), Audited()), settings=Settings())
