"""Leaving: disabled at once, taken back or erased; and then nothing in any table or object leads to the person."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.identity.errors import LastAdmin
from server.identity.privacy.departures import ERASE_JOB
from server.identity.privacy.errors import LastAdministrator
from storage.objects import ObjectStore
from tests.server.identity.privacy.place import Person, Place, everything, picture, place
from tests.support import eventually

ME = "/api/v1/users/me"
PICTURE = picture()


@pytest.fixture
async def at_once(tmp_path: Path, database_url: str) -> AsyncIterator[Place]:
    """A server on which there is no time of grace."""
    async with place(tmp_path, database_url, deletion_grace_days=0) as started:
        yield started


async def live(person: Person, title: str) -> str:
    started = await person.call("POST", "/api/v1/live/start", {"title": title}, expect=201)
    id: str = started["id"]
    return id


async def says(person: Person, room: str, text: str) -> str:
    said = await person.call("POST", f"/api/v1/live/{room}/chat", {"text": text, "nonce": uuid.uuid4().hex}, expect=201)
    id: str = said["id"]
    return id


async def traces(place: Place, words: dict[str, str]) -> dict[str, set[str]]:
    """Where in tables and objects these words are: name of the word to places."""
    found: dict[str, set[str]] = {name: set() for name in words}
    wanted = {name: (word.lower(), word.lower().encode().hex()) for name, word in words.items()}
    async for where, text in everything(place.wiring.dsn):
        lowered = text.lower()
        for name, (plain, hexed) in wanted.items():
            if plain in lowered or hexed in lowered:
                found[name].add(where)
    store: ObjectStore = place.wiring.objects
    async for key, _ in store.list(""):
        data = (await store.get(key) or b"").lower()
        for name, (plain, _) in wanted.items():
            if plain in key.lower() or plain.encode() in data:
                found[name].add(f"object {key}")
    return found


async def test_nothing_of_a_person_stays(at_once: Place) -> None:
    here = at_once
    ada, bob = await here.register("adalovelace"), await here.register("bob")
    await ada.call(
        "PATCH", ME,
        {
            "display_name": "Countess Quux", "bio": "a bio of marzipan", "location": "Nether Wallop",
            "website": "https://marzipan.example.org", "links": [{"label": "liquorice", "url": "https://l.example.org"}],
        },
    )  # fmt: skip
    await ada.call("PUT", ME + "/preferences", {"time_zone": "Antarctica/Troll"})
    await ada.call("PUT", ME + "/avatar", data=PICTURE)
    own, others = await live(ada, "A marzipan broadcast"), await live(bob, "Bob's own")
    store = here.wiring.objects
    await store.put(f"live/{own}/thumb.jpg", b"a picture of adalovelace", "image/jpeg")
    hers = [await says(ada, others, f"marzipan {number}") for number in range(3)]
    bobs = await says(bob, others, "hello")
    await says(bob, own, "in her room")
    await ada.call("DELETE", f"/api/v1/live/{others}/chat/{hers[0]}", expect=204)
    await ada.call("POST", ME + "/export", {}, expect=202)
    await here.idle()
    assert (await ada.call("GET", ME + "/export"))["state"] == "ready"
    second = await here.sign_in("adalovelace")
    words = {
        "id": ada.id,
        "id without hyphens": ada.id.replace("-", ""),
        "name": "adalovelace",
        "email": ada.email,
        "display name": "Countess Quux",
        "bio": "marzipan",
        "link": "liquorice",
        "place": "Nether Wallop",
        "time zone": "Antarctica/Troll",
        "browser": "Browser-of-adalovelace",
        "broadcast": own,
    }
    before = await traces(here, words)
    assert all(before[name] for name in words if name != "id without hyphens"), before
    objects = [key async for key, _ in store.list("") if not key.startswith("deleted/")]
    assert {key.split("/")[0] for key in objects} == {"avatars", "exports", "live"}
    log_before = await here.call("GET", f"/api/v1/live/{others}/chat?limit=500", token=bob.token)

    await ada.call("DELETE", ME, expect=202)
    await ada.call("GET", ME, expect=401)
    await here.call("POST", "/api/v1/auth/refresh", {"refresh_token": second["refresh_token"]}, expect=401)
    await here.idle()
    after = await traces(here, words)
    # That a broadcast with this random number was deleted stays: nodes that have something left of it ask for that.
    marks = {f"object deleted/live/{own}.json", "chat_rooms.id"}
    assert after == {name: marks if name == "broadcast" else set() for name in words}
    assert [key async for key, _ in store.list("") if not key.startswith("deleted/")] == []
    assert any("adalovelace" in text for to, text in here.inbox.mails if to == ada.email)
    # the security log keeps what happened, in order, under an id that stands for nobody
    events = await here.sql(
        "select array_agg(event order by id) from audit_log where user_id <> $1 and user_id in"
        " (select user_id from audit_log where event = 'deletion.scheduled')", uuid.UUID(bob.id),
    )  # fmt: skip
    assert {"account.registered", "profile.changed", "export.asked", "deletion.scheduled"} <= set(events)

    # the other's room: dense places, what others said whole, hers gone without a name
    async def erased() -> Any:
        log = await here.call("GET", f"/api/v1/live/{others}/chat?limit=500", token=bob.token)
        assert log["head"] == log_before["head"] + 2  # one of the three was deleted before
        return log

    log = await eventually(erased)  # the end of a log is read once a second, for all who ask
    assert [item["offset"] for item in log["items"]] == list(range(1, log["head"] + 1))
    messages = [item["data"]["message"] for item in log["items"] if "message" in item["data"]]
    said = {message["id"]: message for message in messages}
    assert said[bobs]["text"] == "hello"
    for id in hers:
        assert (said[id]["text"], said[id]["deleted"], said[id]["author"]["username"]) == ("", True, "")
    assert await says(bob, others, "on it goes")
    # her name is nobody else's for a while
    taken = await here.call(
        "POST", "/api/v1/auth/register",
        {"username": "AdaLovelace", "email": "else@example.org", "password": "a long enough secret"}, expect=409,
    )  # fmt: skip
    assert taken["code"] == "username_taken"


async def test_the_scan_would_find_what_is_left(at_once: Place) -> None:
    """In a table that nobody thought of: in text, arrays, JSON and bytes."""
    here = at_once
    ada = await here.register("adalovelace")
    async with here.wiring.database.acquire() as connection:
        await connection.execute("create table forgotten (a text, b uuid[], c jsonb, d bytea, e bytea[])")
        await connection.execute(
            "insert into forgotten values ($1, $2, $3, $4, $5)",
            "x " + ada.email, [uuid.UUID(ada.id)], f'{{"x": ["{ada.name}"]}}', uuid.UUID(ada.id).bytes,
            [ada.name.encode()],
        )  # fmt: skip
    await ada.call("DELETE", ME, expect=202)
    await here.idle()
    found = await traces(here, {"id": ada.id, "bytes": ada.id.replace("-", ""), "name": ada.name, "email": ada.email})
    assert found == {
        "id": {"forgotten.b"},
        "bytes": {"forgotten.d"},
        "name": {"forgotten.a", "forgotten.c", "forgotten.e"},
        "email": {"forgotten.a"},
    }


async def test_an_account_is_taken_back(here: Place) -> None:
    ada, bob = await here.register("ada"), await here.register("bob")
    own, others = await live(ada, "Mine"), await live(bob, "Bob's")
    await says(ada, others, "still here")
    due = (await ada.call("DELETE", ME, expect=202))["due_at"]
    # disabled for everybody: its owner's tokens, its profile, its broadcasts, its stream key
    await ada.call("GET", ME, expect=401)
    await here.call("GET", "/api/v1/users/ada", expect=404)
    await here.call("GET", f"/api/v1/live/{own}", token=bob.token, expect=404)
    assert await here.sql("select suspended from channels where user_id = $1", uuid.UUID(ada.id))
    leaving = await here.sign_in("ada", expect=403)
    assert leaving["code"] == "account_leaving"
    assert leaving["due_at"][:16] == due[:16]
    assert "access_token" not in leaving
    for wrong in ("x", "A" * 90, leaving["restore"][:-4] + "AAAA", "é" * 20):
        answer = await here.call("POST", ME + "/restore", {"token": wrong}, expect=404)
        assert answer["code"] == "not_leaving"
    await here.call("POST", ME + "/restore", {"token": leaving["restore"]}, expect=204)
    await here.call("POST", ME + "/restore", {"token": leaving["restore"]}, expect=404)
    ada.token = (await here.sign_in("ada"))["access_token"]
    assert (await ada.call("GET", ME))["username"] == "ada"
    assert (await here.call("GET", f"/api/v1/live/{own}", token=bob.token))["title"] == "Mine"
    # once more, by the mail's link; the link of the first time is void, as is the first time's job
    await here.idle()
    first = here.token(ada.email, "restore")
    await ada.call("DELETE", ME, expect=202)
    await here.call("POST", ME + "/restore", {"token": first}, expect=404)
    await here.idle()
    await here.call("POST", ME + "/restore", {"token": here.token(ada.email, "restore")}, expect=204)
    await here.due(ERASE_JOB)
    assert (await here.sign_in("ada"))["user"]["id"] == ada.id
    events = await here.sql("select array_agg(event order by id) from audit_log where event like 'deletion%'")
    assert events == ["deletion.scheduled", "deletion.cancelled"] * 2


async def test_what_is_due_is_erased_even_when_its_job_was_lost(here: Place) -> None:
    ada = await here.register("ada")
    await ada.call("DELETE", ME, expect=202)
    restore = (await here.sign_in("ada", expect=403))["restore"]
    await here.sql("delete from pgqueuer where entrypoint = $1", ERASE_JOB)
    await here.wiring.people.departures.sweep()
    assert await here.sql("select count(*) from pgqueuer where entrypoint = $1", ERASE_JOB) == 0
    await here.sql("update departures set due_at = now() - interval '1 second'")
    await here.call("POST", ME + "/restore", {"token": restore}, expect=404)
    await here.wiring.people.departures.sweep()
    await here.idle()
    assert await here.sql("select count(*) from users where username = 'ada'") == 0
    await here.sign_in("ada", expect=401)


async def test_somebody_has_to_administer(here: Place) -> None:
    ada, bob = await here.register("ada"), await here.register("bob")
    await here.sql("update users set roles = '{admin}' where username = 'ada'")
    assert (await ada.call("DELETE", ME, expect=409))["code"] == "last_administrator"
    assert (await ada.call("GET", ME))["username"] == "ada"
    await here.sql("update users set roles = '{admin}', disabled_at = now() where username = 'bob'")
    await ada.call("DELETE", ME, expect=409)
    await here.sql("update users set disabled_at = null where username = 'bob'")
    await ada.call("DELETE", ME, expect=202)
    assert (await bob.call("DELETE", ME, expect=409))["code"] == "last_administrator"


async def test_of_two_administrators_one_stays_whatever_happens_at_once(here: Place) -> None:
    """One leaves while the other is unmade."""
    ada, bob = await here.register("ada"), await here.register("bob")
    await here.sql("update users set roles = '{admin}'")
    async with here.wiring.database.transaction() as connection:
        # holds what both have to wait for, so that both have begun when the first may go on
        await connection.execute("select pg_advisory_xact_lock(hashtextextended('administrators', 0))")
        leaving = asyncio.create_task(here.wiring.people.departures.leave(uuid.UUID(ada.id), here.wiring.identity))
        unmade = asyncio.create_task(here.wiring.identity.offices.grant(uuid.UUID(bob.id), []))

        async def both_wait() -> bool:
            locks = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            return bool(await connection.fetchval(locks) == 2)

        await eventually(both_wait)
    done = await asyncio.gather(leaving, unmade, return_exceptions=True)
    assert sum(isinstance(each, LastAdministrator | LastAdmin) for each in done) == 1, done
    left = await here.sql("select count(*) from users where roles = '{admin}' and disabled_at is null")
    assert left == 1


async def test_a_crash_while_erasing_is_made_good(at_once: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two parts: what is done stays done, the rest follows."""
    here = at_once
    ada, bob = await here.register("adalovelace"), await here.register("bob")
    await live(ada, "Hers")
    await says(ada, await live(bob, "Bob's"), "marzipan")
    departures = here.wiring.people.departures
    failures = []
    for part in departures._parts:

        def breaking(inner: Any) -> Any:
            async def erase(user_id: uuid.UUID) -> None:
                await inner(user_id)
                if len(failures) < 10 and inner not in failures:
                    failures.append(inner)
                    raise asyncpg.PostgresError("gone in the middle")

            return erase

        monkeypatch.setattr(part, "erase", breaking(part.erase))
    await ada.call("DELETE", ME, expect=202)
    for _ in departures._parts:
        try:
            await departures.erase(uuid.UUID(ada.id).bytes)
        except asyncpg.PostgresError:
            continue
    await departures.erase(uuid.UUID(ada.id).bytes)
    await here.sql("update pgqueuer set execute_after = now() where status = 'queued'")
    await here.idle()
    assert len(failures) == len(departures._parts)
    assert not any((await traces(here, {"id": ada.id, "name": "adalovelace", "text": "marzipan"})).values())


async def test_a_stranger_address_gets_no_mail(here: Place) -> None:
    ada = await here.register("ada", verified=False)
    await here.idle()
    before = len(here.inbox.mails)
    await ada.call("POST", ME + "/export", {}, expect=202)
    await here.idle()
    assert (await ada.call("GET", ME + "/export"))["state"] == "ready"
    await ada.call("DELETE", ME, expect=202)
    await here.idle()
    assert here.inbox.mails[before:] == []
