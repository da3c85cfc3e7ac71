"""API keys: made by a person, used by programs within their scopes, refused as soon as something has changed."""

from __future__ import annotations

import hmac
import logging
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from server.identity.apikeys import token
from server.identity.apikeys.checked import Checked
from server.identity.apikeys.store import Held
from server.kit.clock import now
from server.kit.ids import uuid7
from storage.postgres import Database
from tests.server.identity.apikeys.conftest import MakeNode, Node, Person, person
from tests.server.identity.stack import Events, Mailbox, bearer
from tests.support import eventually

WITHIN = 2.0


async def test_a_key_is_shown_once_and_works(
    node: Node, ada: Person, database: Database, mailbox: Mailbox, events: Events
) -> None:
    made = await node.make(ada.token, "thing:read", name="  my\u200b  overlay ")
    secret, key = made["secret"], made["key"]
    assert secret.startswith(f"sfk_{key['prefix']}_")
    assert key["name"] == "my overlay"
    listed = await node.call("GET", "/keys", ada.token, 200)
    assert [item["id"] for item in listed["items"]] == [key["id"]]
    assert listed["available"] == ["thing:read", "thing:write"]
    tail = secret.rpartition("_")[2]
    assert tail not in str(listed)
    seen = await node.call("GET", "/thing", secret, 200)
    assert seen == {
        "user_id": str(ada.id),
        "roles": [],
        "permissions": [],
        "tier": "free",
        "by_key": True,
        "proven_at": 0.0,
    }
    assert [(mail.to, mail.values["name"]) for mail in mailbox.sent if mail.template == "api_key_made"] == [
        ("ada@example.org", "my overlay")
    ]
    assert "key.made" in events.of(ada.id)
    assert tail not in str(events.lines)
    async with database.acquire() as connection:
        stored = await connection.fetchval("select string_agg(k::text, ' ') from api_keys k")
    assert tail not in stored


async def test_a_key_whose_answer_was_lost_is_asked_for_again(node: Node, ada: Person, database: Database) -> None:
    headers = {**bearer(ada.token), "Idempotency-Key": "once"}
    body = {"name": "overlay", "scopes": ["thing:read"]}
    answers = [await node.client.post("/api/v1/keys", headers=headers, json=body) for _ in range(2)]
    first, again = [await answer.json() for answer in answers]
    assert [answer.status for answer in answers] == [201, 201]
    assert first == again
    await node.call("GET", "/thing", again["secret"], 200)
    assert len((await node.call("GET", "/keys", ada.token, 200))["items"]) == 1
    other = await node.client.post("/api/v1/keys", headers=headers, json={**body, "name": "another"})
    assert other.status == 422
    async with database.acquire() as connection:  # the secret is kept for the twin, sealed
        stored = await connection.fetchval("select string_agg(k::text, ' ') from idempotency_keys k")
    assert first["secret"].encode().hex() not in stored
    assert first["secret"] not in stored


async def test_scopes_hold(node: Node, ada: Person) -> None:
    reader = (await node.make(ada.token, "thing:read"))["secret"]
    writer = (await node.make(ada.token, "thing:write"))["secret"]
    await node.call("POST", "/thing", reader, 403)
    await node.call("GET", "/thing", writer, 403)
    await node.call("POST", "/thing", writer, 204)


async def test_no_key_manages_accounts_or_keys_or_proves_presence(node: Node, ada: Person) -> None:
    key = await node.make(ada.token, "thing:read", "thing:write")
    secret = key["secret"]
    await node.make(secret, expect=403)
    await node.call("GET", "/keys", secret, 403)
    await node.call("DELETE", f"/keys/{key['key']['id']}", secret, 403)
    await node.call("GET", "/auth/profile", secret, 403)
    await node.call("DELETE", "/thing", secret, 403)
    # there are no scopes by which it could be asked for
    for scope in ("keys:write", "keys:read", "accounts:write", "accounts:read", "nothing:read", "admin:write"):
        problem = await node.make(ada.token, scope, expect=422)
        assert "there is no scope" in str(problem)
    for scope in ("thing", "thing:*", "*:read", "*", "thing:read thing:write", ""):
        await node.make(ada.token, scope, expect=422)


async def test_making_a_key_asks_for_a_fresh_proof(node: Node, ada: Person, database: Database) -> None:
    async with database.acquire() as connection:
        account = await node.identity.account_by_id(connection, ada.id)
        session = await connection.fetchval("select id from sessions where user_id = $1", ada.id)
    assert account is not None
    old = node.identity.issue_access(account, session, now() - timedelta(hours=1))
    problem = await node.make(old, expect=403)
    assert problem["code"] == "step_up_required"
    await node.call("GET", "/keys", old, 200)


async def test_a_permission_of_the_role_counts_and_goes_with_it(node: Node, database: Database) -> None:
    staff = await person(node, database, "boss", ["admin"])
    secret = (await node.make(staff.token, "thing:read", "thing:write"))["secret"]
    await node.call("PUT", "/thing", secret, 204)
    async with database.acquire() as connection:
        await connection.execute("update users set roles = '{}' where id = $1", staff.id)
    await eventually(lambda: _answers(node, "PUT", secret, 403), within=WITHIN)
    assert (await node.call("GET", "/thing", secret, 200))["roles"] == []


async def _answers(node: Node, method: str, secret: str, status: int) -> bool:
    answer = await node.client.request(method, "/api/v1/thing", headers={"Authorization": f"Bearer {secret}"})
    return answer.status == status


@pytest.mark.parametrize("change", ["revoked", "disabled", "expired", "deleted"])
async def test_what_ends_a_key_ends_it_on_every_node(
    make_node: MakeNode, node: Node, ada: Person, database: Database, change: str, events: Events
) -> None:
    other = await make_node()
    made = await node.make(ada.token)
    secret, id = made["secret"], made["key"]["id"]
    for each in (node, other):
        await each.call("GET", "/thing", secret, 200)
    if change == "revoked":
        await node.call("DELETE", f"/keys/{id}", ada.token, 204)
        await node.call("GET", "/thing", secret, 401)
        await node.call("DELETE", f"/keys/{id}", ada.token, 404)
        assert "key.revoked" in events.of(ada.id)
    else:
        statement = {
            "disabled": "update users set disabled_at = now()",
            "expired": "update api_keys set expires_at = now() - interval '1 second'",
            "deleted": "delete from users",
        }[change]
        async with database.acquire() as connection:
            await connection.execute(statement)
    for each in (node, other):
        await eventually(lambda each=each: _answers(each, "GET", secret, 401), within=WITHIN)
    fresh = await make_node()
    await fresh.call("GET", "/thing", secret, 401)


async def test_a_remembered_key_expires_to_the_moment(database: Database) -> None:
    """Without waiting for the next look at the database."""
    checked, user = Checked(database), uuid7()
    held = _held(user, now() + timedelta(milliseconds=80))
    checked.remember(b"d", held)
    assert checked.find(b"d") is not None
    await eventually(lambda: checked.find(b"d") is None)


def _held(user_id: UUID, expires_at: datetime | None = None) -> Held:
    return Held(uuid7(), bytes(32), frozenset({"thing:read"}), expires_at, user_id, "ada", frozenset(), "free", False)


async def test_nobody_touches_anothers_keys(node: Node, ada: Person, database: Database) -> None:
    eve = await person(node, database, "eve_")
    made = await node.make(ada.token)
    problem = await node.call("DELETE", f"/keys/{made['key']['id']}", eve.token, 404)
    assert problem["code"] == "no_such_key"
    assert (await node.call("GET", "/keys", eve.token, 200))["items"] == []
    await node.call("GET", "/thing", made["secret"], 200)


async def test_a_forged_key_is_refused(node: Node, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = (await node.make(ada.token))["secret"]
    theirs = token.make()
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    head, tail = mine.rpartition("_")[0], theirs.text.rpartition("_")[2]
    body = f"{head}_{tail[:-6]}"
    forged = body + token._checksum(body)  # another's secret under my prefix, with a checksum that is right
    for attempt in (forged, theirs.text):
        await node.call("GET", "/thing", attempt, 401)
    # both were compared in constant time, also the one whose prefix nobody has
    assert len(compared) == 2
    cut = [mine[:-1], mine[:-7], mine[:20], "sfk_", "sfk_a_b", mine + "x", mine.replace("sfk_", "sfk__")]
    swapped = [mine.swapcase(), mine[:-1] + ("a" if mine[-1] != "a" else "b"), f"sfk_{'0' * 10}_{mine[15:]}"]
    for attempt in [*cut, *swapped]:
        problem = await node.call("GET", "/thing", attempt, 401)
        assert mine not in str(problem)
    assert len(compared) == 2, "what is no key at all asks nobody"


async def test_hostile_bodies(node: Node, ada: Person) -> None:
    await node.make(ada.token, expect=422, name="")
    await node.make(ada.token, expect=422, name="\u200b\u0000 \n")
    await node.make(ada.token, expect=422, name="x" * 61)
    await node.make(ada.token, expect=422, scopes=[])
    await node.make(ada.token, expect=422, scopes=["thing:read"] * 101)
    await node.make(ada.token, expect=422, expires_at="2020-01-01T00:00:00Z")
    await node.make(ada.token, expect=422, expires_at="2030-01-01T00:00:00")
    await node.make(ada.token, expect=422, user_id=str(uuid7()))
    many = await node.make(ada.token, scopes=["thing:read"] * 5, expires_at="2999-01-01T00:00:00+02:00")
    assert many["key"]["scopes"] == ["thing:read"]
    assert many["key"]["expires_at"] == "2998-12-31T22:00:00Z"


async def test_an_account_has_so_many_keys(node: Node, ada: Person) -> None:
    for _ in range(3):
        last = await node.make(ada.token)
    problem = await node.make(ada.token, expect=409)
    assert problem["code"] == "too_many_keys"
    await node.call("DELETE", f"/keys/{last['key']['id']}", ada.token, 204)
    await node.make(ada.token)


async def test_the_last_use_is_written_beside_the_requests(node: Node, ada: Person, database: Database) -> None:
    made = await node.make(ada.token)
    for _ in range(3):
        await node.call("GET", "/thing", made["secret"], 200)

    async def last() -> datetime | None:
        [item] = (await node.call("GET", "/keys", ada.token, 200))["items"]
        return item["last_used_at"]  # type: ignore[no-any-return]

    first = await eventually(last)
    # used again within the minute: not written again, until the process stops
    await node.call("GET", "/thing", made["secret"], 200)
    await node.keys._checked.write(every=60.0)
    assert await last() == first
    await node.keys.close()
    assert await last() > first


async def test_keys_stay_good_while_the_database_is_away(node: Node, ada: Person, database: Database) -> None:
    secret = (await node.make(ada.token))["secret"]
    await node.call("GET", "/thing", secret, 200)
    await database.close()
    with pytest.raises(Exception, match="not started"):
        await node.keys._checked.renew()
    await node.call("GET", "/thing", secret, 200)
    await database.start()


async def test_no_log_has_a_key(node: Node, ada: Person, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = (await node.make(ada.token))["secret"]
    await node.call("GET", "/thing", secret, 200)
    await node.call("POST", "/thing", secret, 403)
    await node.call("GET", "/thing", secret[:-1], 401)
    await node.make(ada.token, expect=422, name=secret * 3)
    assert secret.rpartition("_")[2][:-1] not in caplog.text


def test_a_key_has_the_bits_that_it_should() -> None:
    made = [token.make() for _ in range(200)]
    assert len({each.prefix for each in made}) == 200
    for each in made:
        assert len(each.text) == 64
        assert token.prefix_of(each.text) == each.prefix
        assert token.digest(each.text) == each.digest
        # one changed character is always noticed
        place = each.text.rindex("_") + 5
        other = "A" if each.text[place] != "A" else "B"
        assert token.prefix_of(each.text[:place] + other + each.text[place + 1 :]) is None
