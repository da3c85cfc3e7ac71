"""Targets of a real server: pushed to, stopped, refused, over a kill; whom it never calls; what it never shows."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from media.egress.restream import Failed
from media.ingest.gate import Refused
from media.ingest.rtmp import RtmpOptions, RtmpServer
from server.kit.outgoing import Outgoing
from server.kit.reachable import Reachable
from server.streaming.restream import store
from server.streaming.restream.address import parse
from server.streaming.restream.dialer import Dialer
from server.streaming.restream.names import Names
from server.streaming.restream.personal import RestreamData
from storage.postgres import Database
from tests.media.ingest.conftest import OpenGate
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_rtmps import certificate
from tests.support import eventually, free_port

KEY = "live_98765_Aq7ZsecretTail"
TARGETS = "/api/v1/live/targets"


@pytest.fixture
def port() -> int:
    """Of the target."""
    return free_port()


@pytest.fixture
def environment(environment: dict[str, str], port: int) -> dict[str, str]:
    allowed = {"OUTGOING_ALLOWED": f"127.0.0.1:{port}", "LOG_LEVEL": "debug", "RESTREAM_PAUSE": "0.5"}
    return {**allowed, **environment, "LOG_LEVEL": "debug"}


@pytest.fixture
def gate() -> OpenGate:
    return OpenGate()


@pytest.fixture
async def target(gate: OpenGate, port: int) -> AsyncIterator[RtmpServer]:
    """Somebody else's server, which here is one of ours."""
    server = RtmpServer(gate, RtmpOptions(rtmp_host="127.0.0.1", rtmp_port=port))
    await server.start()
    yield server
    await server.close()


async def make(user: User, port: int, **more: Any) -> dict[str, Any]:
    body = {"name": "Elsewhere", "url": f"rtmp://127.0.0.1:{port}/live", "key": KEY, **more}
    return await user.call("POST", TARGETS, body, expect=201)


def push_of(user: User, id: str) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def look() -> dict[str, Any]:
        return (await user.call("GET", f"{TARGETS}/{id}"))["push"] or {}

    return look


async def until_push(user: User, id: str, **wanted: Any) -> dict[str, Any]:
    look = push_of(user, id)
    found: dict[str, Any] = {}

    async def there() -> bool:
        nonlocal found
        found = await look()
        assert all(found.get(name) == value for name, value in wanted.items()), found
        return True

    await eventually(there, every=0.1, what=f"a push with {wanted}")
    return found


async def test_a_broadcast_goes_on_to_its_target_until_told_otherwise_and_over_a_kill(
    server: ServerProcess, streamer: User, target: RtmpServer, gate: OpenGate, port: int, database_url: str
) -> None:
    made = await make(streamer, port)
    assert made["key_hint"] == "…Tail"
    assert made["push"] is None
    started = await streamer.start()
    rtmp = started["ingest"]["rtmp"]
    await streamer.push(rtmp)
    await eventually(lambda: gate.publishers and gate.publishers[0].of(1) and gate.publishers[0].of(2))
    assert gate.publishers[0].request is not None
    assert gate.publishers[0].request.key == KEY

    async def flows() -> bool:
        push = await push_of(streamer, made["id"])()
        return push["state"] == "pushing" and push["sent_bytes"] > 10_000 and push["bitrate"] > 10_000

    await eventually(flows, every=0.1)

    # another one comes while it is live, and goes away again: nobody else notices
    two = await make(streamer, port, name="Second", key=KEY + "b")
    await eventually(lambda: len(gate.publishers) == 2 and gate.publishers[1].of(1))
    await until_push(streamer, two["id"], state="pushing")
    gate.refuse = Refused("busy", "Try again later.")
    assert gate.publishers[1].request is not None
    gate.publishers[1].request.link.close("the test hangs up")
    push = await until_push(streamer, two["id"], state="retrying")
    assert push["error"]
    before = len(gate.publishers[0].of(1))
    await eventually(lambda: len(gate.publishers[0].of(1)) > before + 10)
    assert gate.publishers[0].closed is None
    await streamer.call("DELETE", f"{TARGETS}/{two['id']}", expect=204)
    gate.refuse = None
    gate.publishers.pop(1)

    # only its owner knows of it
    def said(shown: dict[str, Any]) -> bool:
        return any(e["kind"] == "target" and "Elsewhere: on air there" in e["detail"] for e in shown["events"])

    await streamer.until(started["id"], said)
    async with streamer.http.get(f"{server.url}/api/v1/live/{started['id']}") as answer:
        assert (await answer.json())["events"] is None

    # stop and start while live
    await streamer.call("POST", f"{TARGETS}/{made['id']}/stop", {})
    await eventually(lambda: gate.publishers[0].closed)
    assert gate.publishers[0].closed is not None
    assert gate.publishers[0].closed[1]  # in good order
    await until_push(streamer, made["id"], state="stopped")
    # one that is slow to take what it is sent is called anew: the last is the one that counts, however many there were
    stopped = len(gate.publishers)
    await streamer.call("POST", f"{TARGETS}/{made['id']}/start", {})
    await eventually(lambda: len(gate.publishers) > stopped and gate.publishers[-1].of(1))

    # what is written down is what goes on after a kill
    await until_push(streamer, made["id"], state="pushing")
    sql = await asyncpg.connect(database_url)
    try:
        state = "select state = 'pushing' from restream_pushes"
        await eventually(lambda: sql.fetchval(state), every=0.1)
        await server.restart(signal.SIGKILL)
        await eventually(lambda: all(one.closed for one in gate.publishers))
        killed = len(gate.publishers)
        await streamer.push(rtmp)
        await eventually(lambda: len(gate.publishers) > killed and gate.publishers[-1].of(1))
        push = await until_push(streamer, made["id"], state="pushing")
        assert push["broadcast_id"] == started["id"]
        assert push["reconnects"] >= 1

        await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
        await eventually(lambda: all(one.closed for one in gate.publishers))
        await until_push(streamer, made["id"], state="stopped", bitrate=0.0)
        rows = [dict(row) for row in await sql.fetch("select * from restream_targets, restream_pushes, ingest_events")]
    finally:
        await sql.close()
    # the key is told to the target alone
    assert KEY not in repr(rows)
    assert KEY not in "\n".join(server.log)
    assert KEY not in json.dumps(await streamer.call("GET", TARGETS))


async def test_names_are_looked_up_beside_everything_else() -> None:
    names = Names()
    try:
        found = await names.resolve("localhost", 1935)
        assert {each["host"] for each in found} <= {"127.0.0.1", "::1"}
        assert found
        with pytest.raises(socket.gaierror):
            await names.resolve("nowhere.invalid", 1935)
    finally:
        await names.close()


class Changing(AbstractResolver):
    """A name server that answers something else each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        found = self.answers.pop(0)
        return [ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0) for each in found]

    async def close(self) -> None:
        pass


async def test_only_checked_addresses_are_connected_to(target: RtmpServer, port: int) -> None:
    names = Changing(["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"])
    dialer = Dialer(Outgoing(Reachable("1935", f"127.0.0.1:{port}"), resolver=names), 5)
    _, writer = await dialer.open(parse(f"rtmp://target.example:{port}/live"))
    assert writer.get_extra_info("peername") == ("127.0.0.1", port)
    writer.transport.abort()
    for _ in range(2):  # it moved inside; it has one address inside
        with pytest.raises(Failed) as failed:
            await dialer.open(parse(f"rtmp://target.example:{port}/live"))
        assert failed.value.for_good
        assert "10.0" not in failed.value.reason
    with pytest.raises(Failed):  # the address is allowed on another port
        await dialer.open(parse("rtmp://target.example:1936/live"))


async def test_a_certificate_counts_for_the_name_of_the_target(gate: OpenGate, port: int, tmp_path: Path) -> None:
    chain, private = certificate(tmp_path, "target.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, private)
    server = RtmpServer(gate, RtmpOptions(rtmp_host="127.0.0.1", rtmp_port=0, rtmps_port=port, tls=context))
    await server.start()
    try:
        outgoing = Outgoing(Reachable("1935", f"127.0.0.1:{port}"), resolver=Changing(*[["127.0.0.1"]] * 3))
        known = Dialer(outgoing, 5, ssl.create_default_context(cafile=str(chain)))
        _, writer = await known.open(parse(f"rtmps://target.example:{port}/live"))
        writer.transport.abort()
        with pytest.raises(ssl.SSLCertVerificationError):
            await known.open(parse(f"rtmps://other.example:{port}/live"))
        with pytest.raises(ssl.SSLCertVerificationError):
            await Dialer(outgoing, 5).open(parse(f"rtmps://target.example:{port}/live"))
    finally:
        await server.close()


async def test_a_refusal_is_final_until_the_owner_starts_it_again(
    server: ServerProcess, streamer: User, target: RtmpServer, gate: OpenGate, port: int, database: Database
) -> None:
    gate.refuse = Refused("unknown_key", f"No such key: {KEY}")
    made = await make(streamer, port)
    here = await make(streamer, 1935, url="rtmp://localhost/live")
    started = await streamer.start()
    await streamer.push(started["ingest"]["rtmp"])
    push = await until_push(streamer, made["id"], state="refused")
    assert push["error"] == "the target refused: No such key: …"
    # a name that stands for this machine is not called, and what it stands for is not told
    push = await until_push(streamer, here["id"], state="refused")
    assert push["error"] == "this server does not push to the address that the host stands for"
    assert any("loopback" in line for line in server.log)
    gate.refuse = None
    renamed = await streamer.call("PUT", f"{TARGETS}/{made['id']}", {"name": "Still"})
    assert (renamed["name"], renamed["push"]["state"]) == ("Still", "refused")

    async def written() -> bool:
        async with database.acquire() as conn:
            return {push.state for push in (await store.pushes(conn, [uuid.UUID(made["id"])])).values()} == {"refused"}

    await eventually(written, every=0.1)
    # the next process does not try it either
    await server.restart(signal.SIGKILL)
    await streamer.push(started["ingest"]["rtmp"])
    good = await make(streamer, port, name="Good", key=KEY + "b")
    await until_push(streamer, good["id"], state="pushing")
    await until_push(streamer, made["id"], state="refused")
    assert [p.request.key for p in gate.publishers if p.request is not None] == [KEY + "b"]

    # one that is slow to take what it is sent is called anew: the last is the one that counts, however many there were
    stopped = len(gate.publishers)
    await streamer.call("POST", f"{TARGETS}/{made['id']}/start", {})
    await eventually(lambda: len(gate.publishers) > stopped and gate.publishers[-1].of(1))
    await until_push(streamer, made["id"], state="pushing", error="")
    # turned off it ends, and the broadcast has noticed nothing
    await streamer.call("PUT", f"{TARGETS}/{made['id']}", {"enabled": False})
    await eventually(lambda: gate.publishers[1].closed)
    problem = await streamer.call("POST", f"{TARGETS}/{made['id']}/start", {}, expect=409)
    assert problem["code"] == "target_disabled"
    await streamer.call("DELETE", f"{TARGETS}/{made['id']}", expect=204)
    assert (await streamer.show(started["id"]))["state"] == "live"


async def refuses_addresses(streamer: User) -> None:
    for url, words in (
        ("http://example.org/live", "begin with rtmp"),
        ("rtmp://", "no host"),
        ("rtmp://example.org", "no path"),
        ("rtmp://example.org:0/live", "port 0"),
        ("rtmp://example.org:22/live", "port 22"),
        ("rtmp://example.org:99999/live", "no address"),
        ("rtmp://user:word@example.org/live", "user name"),
        ("rtmp://example.org/live?key=1", "stream key"),
        ("rtmp://example.org/li ve", "spaces"),
        ("rtmp://exämple.org/live", "xn--"),
        ("rtmp://127.0.0.1/live", "loopback"),
        ("rtmp://127.1/live", "unusual form"),
        ("rtmp://0x7f000001/live", "name|unusual"),
        ("rtmp://2130706433/live", "unusual form"),
        ("rtmp://10.0.0.1/live", "private"),
        ("rtmp://169.254.169.254/live", "link-local"),
        ("rtmp://[::1]/live", "loopback"),
        ("rtmp://[::ffff:10.0.0.1]/live", "IPv4 address inside"),
        ("rtmp://[fe80::1%25eth0]/live", "zone|no address"),
        ("rtmp://[64:ff9b::a00:1]/live", "public"),
        ("rtmp://" + "a" * 480 + "/live", "no name"),
    ):
        problem = await streamer.call("POST", TARGETS, {"name": "a", "url": url, "key": "k"}, expect=422)
        (error,) = problem["errors"]
        assert error["path"] == "$.url"
        assert any(part in error["message"] for part in words.split("|")), (url, error)
    good = {"name": "a", "url": "rtmp://example.org/live"}
    for change in ({"key": "two words"}, {"key": " "}, {"key": "ключ"}, {"key": "k", "name": " \u200b"}):
        await streamer.call("POST", TARGETS, {**good, **change}, expect=422)


async def keeps_little(streamer: User, other: User, port: int, database: Database) -> None:
    await make(streamer, port)
    await make(other, port, name="Theirs")
    ids = {user.name: uuid.UUID((await user.call("GET", "/api/v1/users/me"))["id"]) for user in (streamer, other)}
    data = RestreamData(database)
    (item,) = [item async for item in data.export(ids["streamer"], media=True)]
    text = b"".join([piece async for piece in item.content]).decode()
    assert "Elsewhere" in text
    assert "Theirs" not in text
    assert KEY not in text
    async with database.transaction() as conn:
        await data.hand_over(conn, ids["streamer"])
    async with database.acquire() as conn:
        assert await store.of_user(conn, ids["streamer"]) == []
        assert len(await store.of_user(conn, ids["other"])) == 1
    await data.erase(ids["other"])
    async with database.acquire() as conn:
        assert await store.of_user(conn, ids["other"]) == []


@pytest.mark.settings(RESTREAM_TARGETS="2")
async def test_targets_are_made_edited_and_deleted_by_their_owner_alone(
    server: ServerProcess,
    streamer: User,
    new_user: Callable[[str], Awaitable[User]],
    http: aiohttp.ClientSession,
    port: int,
    database: Database,
) -> None:
    first = await make(streamer, port, url=f"RTMPS://127.0.0.1:{port}/live/", name=" Two \n words ", enabled=False)
    assert (first["url"], first["name"], first["enabled"]) == (f"rtmps://127.0.0.1:{port}/live", "Two words", False)
    assert (await make(streamer, port, key="short"))["key_hint"] == "…"
    body = {"name": "a", "url": f"rtmp://127.0.0.1:{port}/live", "key": KEY}
    problem = await streamer.call("POST", TARGETS, body, expect=409)
    assert problem["code"] == "too_many_targets"
    listed = await streamer.call("GET", TARGETS)
    assert listed["items"][0]["id"] == first["id"]
    assert listed["most"] == 2

    path = f"{TARGETS}/{first['id']}"
    other = await new_user("other")
    for method, where, body in (
        ("GET", path, None), ("PUT", path, {"name": "x"}), ("DELETE", path, None),
        ("POST", f"{path}/start", {}), ("POST", f"{path}/stop", {}),
    ):  # fmt: skip
        assert (await other.call(method, where, body, expect=404))["code"] == "no_such_target"
    assert (await other.call("GET", TARGETS))["items"] == []

    headers = {"Authorization": f"Bearer {streamer.token}"}
    async with http.get(server.url + path, headers=headers) as answer:
        tag = answer.headers["ETag"]
    await streamer.call("PUT", path, {"enabled": True})
    async with http.put(server.url + path, json={"name": "late"}, headers={**headers, "If-Match": tag}) as answer:
        assert answer.status == 412
    # whoever sits in the session cannot have the key sent elsewhere
    moved = await streamer.call("PUT", path, {"url": f"rtmp://127.0.0.1:{port}/other"}, expect=422)
    assert moved["errors"][0]["path"] == "$.key"
    moved = await streamer.call("PUT", path, {"url": f"rtmp://127.0.0.1:{port}/other", "key": KEY + "2"})
    assert (moved["url"], moved["key_hint"]) == (f"rtmp://127.0.0.1:{port}/other", "…ail2")
    problem = await streamer.call("POST", f"{path}/start", {}, expect=409)
    assert problem["code"] == "not_on_air"
    await streamer.call("DELETE", path, expect=204)
    await streamer.call("GET", path, expect=404)
    await refuses_addresses(streamer)
    await keeps_little(streamer, other, port, database)
