"""Archives: what is in them, who gets them, and what a crash, a second worker and the end of their time do to them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.identity.privacy import exports
from server.identity.privacy.archive import Archive
from server.identity.privacy.exports import EXPORT_JOB
from server.kit.clock import now
from server.kit.personal import Item, rows
from tests.server.identity.privacy.place import Person, Place, picture, unzipped
from tests.server.identity.privacy.test_leaving import live, says
from tests.support import eventually

ME = "/api/v1/users/me"
PICTURE = picture()


async def export(here: Place, person: Person, **body: Any) -> dict[str, Any]:
    await person.call("POST", ME + "/export", body, expect=202)
    await here.idle()
    shown: dict[str, Any] = await person.call("GET", ME + "/export")
    assert shown["state"] == "ready", shown
    return shown


async def objects(here: Place) -> list[str]:
    return [key async for key, _ in here.wiring.objects.list("exports/")]


async def test_everything_of_a_person_and_nothing_of_others(here: Place) -> None:
    ada, bob = await here.register("ada"), await here.register("bob")
    await ada.call("PATCH", ME, {"bio": "a bio of marzipan"})
    await ada.call("PUT", ME + "/avatar", data=PICTURE)
    await ada.call("POST", "/api/v1/live/key")
    own, others = await live(ada, "My marzipan"), await live(bob, "Bob's liquorice")
    facts = """'{"duration": 1.0, "bytes": 5000, "segments": 1}'"""
    await here.sql(f"update broadcasts set recording = {facts}, visibility = 'private' where id = '{own}'")
    await here.wiring.objects.put(f"live/{own}/v1.m4s", b"media" * 1000, "video/iso.segment")
    await says(ada, others, "I say marzipan")
    await says(bob, others, "I say liquorice")
    assert (await ada.call("GET", ME + "/export"))["state"] == "none"
    shown = await export(here, ada)
    assert shown["done"] == shown["total"] > 3
    data = await ada.call("GET", ME + "/export/file")
    assert len(data) == shown["bytes"]
    files = await unzipped(data)
    read = {name: msgspec.json.decode(text) for name, text in files.items() if name.endswith(".json")}
    assert read["account/users.json"][0]["email"] == ada.email
    assert read["account/profiles.json"][0]["bio"] == "a bio of marzipan"
    assert read["account/sessions.json"][0]["user_agent"] == "Browser-of-ada"
    assert [line["event"] for line in read["account/security_log.json"]][-1] == "account.registered"
    broadcast = read["streaming/broadcasts.json"][0]
    assert broadcast["title"] == "My marzipan"
    # no address of what is not for everybody but the page, which asks who one is
    assert (broadcast["recording_url"], broadcast["page_url"].rpartition("/")[2]) == (None, own)
    assert [message["text"] for message in read["chat/messages.json"]] == ["I say marzipan"]
    assert files["account/avatar-64.webp"].startswith(b"RIFF")
    assert not any(name.startswith("media/") for name in files)
    everything = b"".join(files.values())
    for foreign in (b"liquorice", bob.id.encode(), bob.email.encode(), b"argon2", b"password_hash", b"key_hash"):
        assert foreign not in everything
    # with the media, from the mail's link, once more
    await export(here, ada, media=True)
    token = here.token(ada.email, "export")
    files = await unzipped(await here.call("POST", "/api/v1/exports/file", {"token": token}))
    assert files[f"media/{own}/v1.m4s"] == b"media" * 1000
    assert len({key.split("/")[1] for key in await objects(here)}) == 1  # the first one is gone
    fetched = await here.sql("select count(*) from audit_log where event = 'export.fetched'")
    assert fetched == 2


async def test_who_may_fetch_it(here: Place) -> None:
    ada, bob = await here.register("ada"), await here.register("bob")
    await export(here, ada)
    await bob.call("GET", ME + "/export/file", expect=404)
    await here.call("GET", ME + "/export/file", expect=401)
    for wrong in ("x", "A" * 43, "é", "00000000-0000-0000-0000-000000000000"):
        problem = await here.call("POST", "/api/v1/exports/file", {"token": wrong}, expect=404)
        assert problem["code"] == "no_export"
    # long after the password was shown, it has to be shown again
    await here.sql("update sessions set proven_at = now() - interval '1 day'")
    stale = await here.sign_in("ada")
    await here.sql("update sessions set proven_at = now() - interval '1 day'")
    fresh = await here.call("POST", "/api/v1/auth/refresh", {"refresh_token": stale["refresh_token"]})
    for method, path, body in (("GET", "/export/file", None), ("POST", "/export", {}), ("DELETE", "", None)):
        problem = await here.call(method, ME + path, body, token=fresh["access_token"], expect=403)
        assert problem["code"] == "step_up_required"
    await here.call("GET", ME + "/export", token=fresh["access_token"])


async def test_a_link_is_dead_with_the_address_it_went_to_and_with_the_account(here: Place) -> None:
    """Whoever reads the old mailbox must not get the archive."""
    ada = await here.register("ada")
    await export(here, ada)
    link = {"token": here.token(ada.email, "export")}
    await here.call("POST", "/api/v1/exports/file", link)
    await ada.call("POST", "/api/v1/auth/change-email", {"email": "ada@new.example.org"}, expect=202)
    await here.idle()
    moved = {"token": here.token("ada@new.example.org", "email")}
    await here.call("POST", "/api/v1/auth/change-email/confirm", moved, expect=204)
    await here.call("POST", "/api/v1/exports/file", link, expect=404)
    await ada.call("GET", ME + "/export/file")
    await export(here, ada)
    link = {"token": here.token("ada@new.example.org", "export")}
    await here.call("POST", "/api/v1/exports/file", link)
    await ada.call("DELETE", ME, expect=202)
    await here.call("POST", "/api/v1/exports/file", link, expect=404)


async def test_archives_are_made_so_many_times_a_day(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "_MOST_A_DAY", 2)
    ada, bob = await here.register("ada"), await here.register("bob")
    await export(here, ada)
    await export(here, ada)
    problem = await ada.call("POST", ME + "/export", {}, expect=429)
    assert problem["code"] == "too_many_requests"
    await ada.call("GET", ME + "/export/file")
    await export(here, bob)


async def test_parts_of_it(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PIECE_BYTES", 700)
    ada = await here.register("ada")
    shown = await export(here, ada)
    size = shown["bytes"]
    assert len(await objects(here)) == -(-size // 700) > 2
    whole = await ada.call("GET", ME + "/export/file")
    await unzipped(whole)
    for given, start, end in (
        ("bytes=0-", 0, size), ("bytes=5-9", 5, 10), ("bytes=699-700", 699, 701), (f"bytes=100-{size * 2}", 100, size),
        ("bytes=0-699", 0, 700), ("bytes=1400-1400", 1400, 1401),
    ):  # fmt: skip
        headers = {"Range": given, "Authorization": f"Bearer {ada.token}"}
        async with here.client.get(ME + "/export/file", headers=headers) as answer:
            assert await answer.read() == whole[start:end]
            if given != "bytes=0-":
                assert answer.status == 206
                assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
            assert answer.headers["Content-Type"] == "application/zip"
            assert answer.headers["X-Request-ID"]
    for given in (f"bytes={size}-", "bytes=9-5"):
        await ada.call("GET", ME + "/export/file", headers={"Range": given}, expect=416)
    await ada.call("GET", ME + "/export/file", headers={"Range": "lines=1-2"})


async def test_one_at_a_time_and_not_for_ever(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = await here.register("ada")
    go_on = asyncio.Event()
    part = here.wiring.people.exports._parts[0]
    inner = part.export

    async def slow(user_id: uuid.UUID, *, media: bool) -> AsyncIterator[Item]:
        await go_on.wait()
        async for item in inner(user_id, media=media):
            yield item

    monkeypatch.setattr(part, "export", slow)
    await ada.call("POST", ME + "/export", {}, expect=202)
    assert (await ada.call("POST", ME + "/export", {}, expect=409))["code"] == "export_under_way"
    await ada.call("GET", ME + "/export/file", expect=404)
    go_on.set()
    await here.idle()
    assert len(await objects(here)) == 1
    token = here.token(ada.email, "export")
    await here.sql("update exports set expires_at = now()")
    await ada.call("GET", ME + "/export/file", expect=404)
    await here.call("POST", "/api/v1/exports/file", {"token": token}, expect=404)
    await here.wiring.people.exports.sweep()
    await here.idle()
    assert await objects(here) == []
    assert (await ada.call("GET", ME + "/export"))["state"] == "expired"


async def test_an_attempt_that_fails_is_repeated_and_leaves_nothing(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PIECE_BYTES", 300)
    ada = await here.register("ada")
    making = here.wiring.people.exports
    failures = 0

    async def failing(user_id: uuid.UUID, *, media: bool) -> AsyncIterator[Item]:
        nonlocal failures
        failures += 1
        yield Item("noise.bin", _noise(), packed=True)
        raise OSError("the store went away")

    monkeypatch.setattr(making._parts[-1], "export", failing)
    async with here.wiring.database.transaction() as connection:
        id = uuid.uuid4()
        await connection.execute(
            "insert into exports (id, user_id, state, asked_at) values ($1, $2, 'waiting', now())",
            id,
            uuid.UUID(ada.id),
        )
    for _ in range(exports._MOST_ATTEMPTS - 1):
        with pytest.raises(OSError, match="went away"):
            await making.make(id.bytes)
    assert (await ada.call("GET", ME + "/export"))["state"] == "running"
    await making.make(id.bytes)  # the last one raises no more
    assert failures == exports._MOST_ATTEMPTS
    await making.make(id.bytes)
    assert failures == exports._MOST_ATTEMPTS
    await here.idle()
    assert (await ada.call("GET", ME + "/export"))["state"] == "failed"
    assert await objects(here) == []


async def _noise() -> AsyncIterator[bytes]:
    yield os.urandom(2000)


async def test_a_worker_that_comes_back_from_the_dead_spoils_nothing(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat was missed, so another one has begun: the later attempt counts, whoever ends first."""
    ada = await here.register("ada")
    making = here.wiring.people.exports
    id, paused, go_on = uuid.uuid4(), asyncio.Event(), asyncio.Event()
    part = making._parts[-1]
    inner = part.export
    calls = 0

    async def slow(user_id: uuid.UUID, *, media: bool) -> AsyncIterator[Item]:
        nonlocal calls
        calls += 1
        if calls == 1:
            paused.set()
            await go_on.wait()
        async for item in inner(user_id, media=media):
            yield item

    monkeypatch.setattr(part, "export", slow)
    await here.sql(
        "insert into exports (id, user_id, state, asked_at) values ($1, $2, 'waiting', now())", id, uuid.UUID(ada.id)
    )
    first = asyncio.create_task(making.make(id.bytes))
    await paused.wait()
    await making.make(id.bytes)
    go_on.set()
    await first
    await here.idle()
    await unzipped(await ada.call("GET", ME + "/export/file"))
    assert len(await objects(here)) == 1
    assert len([text for to, text in here.inbox.mails if to == ada.email and "/account/export#" in text]) == 1


async def test_a_killed_worker_is_followed_by_another(here: Place, tmp_path: Path, database_url: str) -> None:
    """kill -9 in the middle of an archive; the next worker goes on, and what the first one stored is deleted."""
    ada = await here.register("ada")
    await here.wiring.worker.close()
    await here.sql(
        "insert into sessions (id, user_id, created_at, last_used_at, expires_at, proven_at, user_agent)"
        " select gen_random_uuid(), $1, now(), now(), now() + interval '1 day', now(),"
        " (select string_agg(md5(random()::text || number || part), '') from generate_series(1, 20) part)"
        " from generate_series(1, 16000) number", uuid.UUID(ada.id),
    )  # fmt: skip
    await ada.call("POST", ME + "/export", {}, expect=202)
    environment = {
        **os.environ, "DATABASE_URL": database_url, "DATA_DIR": str(tmp_path), "LOG_LEVEL": "warning",
    }  # fmt: skip

    async def begin() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.worker", env=environment, stdout=asyncio.subprocess.DEVNULL
        )

    worker = await begin()

    async def stored() -> bool:
        return bool(await here.sql("select bytes > 0 from exports"))

    try:
        await eventually(stored, within=30, what="the first piece is stored")
    finally:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    assert await here.sql("select state from exports") == "running"
    first = await here.sql("select prefix from exports")
    # what waiting for half a minute would do
    await here.sql("update pgqueuer set heartbeat = now() - interval '1 hour' where entrypoint = $1", EXPORT_JOB)
    worker = await begin()

    async def ready() -> bool:
        left = await here.sql("select count(*) from pgqueuer where execute_after <= now()")
        return await here.sql("select state from exports") == "ready" and left == 0

    try:
        await eventually(ready, within=60, what="the archive is ready")
    finally:
        worker.terminate()
        await worker.wait()
    assert not [key for key in await objects(here) if key.startswith(first)]
    files = await unzipped(await ada.call("GET", ME + "/export/file"))
    assert await asyncio.to_thread(files["account/sessions.json"].count, b"\n{") == 16_001


async def test_an_archive_is_never_held_whole() -> None:
    """Neither as it is written nor for a content of any size: what waits stays below two pieces."""
    largest, total = 0, 0

    async def store(number: int, piece: bytes) -> None:
        nonlocal largest, total
        largest = max(largest, len(archive._sink.waiting))
        total += len(piece)

    async def content() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield os.urandom(64 * 1024)

    archive = Archive(store, 100_000, now())
    await archive.add(Item("large.bin", content(), packed=True))
    await archive.close()
    assert total == archive.bytes > 64 * 64 * 1024
    assert largest < 200_000


async def test_rows_of_all_lengths_are_one_list() -> None:
    async def batches(*sizes: int) -> AsyncIterator[list[int]]:
        for size in sizes:
            yield list(range(size))

    for sizes in ((), (0,), (1,), (3, 0, 2), (0, 1)):
        text = b"".join([piece async for piece in rows(batches(*sizes))])
        assert msgspec.json.decode(text) == [number for size in sizes for number in range(size)]
