"""The log: written with what it tells, shown to its owner and to staff, never changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.kit.auth import Caller, Origin
from server.kit.http import install
from server.kit.ids import uuid7
from server.kit.problems import Unauthorized
from server.kit.secrets import Secrets
from server.settings import Settings
from server.trust.audit import AuditLog, store
from server.trust.audit.models import AuditLine
from server.trust.audit.routes import routes
from storage.postgres import Connection, Database

ADA, EVE, STAFF = uuid7(), uuid7(), uuid7()
ORIGIN = Origin("203.0.113.7", "Firefox", "req-1")

Client = TestClient[web.Request, web.Application]


async def lines_of(connection: Connection, user_id: UUID) -> list[AuditLine]:
    lines = await store.page(connection, user_id=user_id, actor_id=None, event=None, before=None, limit=100)
    return [line.own() for line in lines]


@dataclass
class Doorman:
    """Knows callers by their token."""

    callers: dict[str, Caller] = field(default_factory=dict)

    async def authenticate(self, token: str) -> Caller:
        if token not in self.callers:
            raise Unauthorized
        return self.callers[token]


@asynccontextmanager
async def serve(database: Database, log: AuditLog) -> AsyncIterator[Client]:
    doorman = Doorman(
        {
            "ada": Caller(ADA, "ada", frozenset(), uuid7()),
            "eve": Caller(EVE, "eve", frozenset(), uuid7()),
            "staff": Caller(STAFF, "staff", frozenset(), uuid7(), permissions=frozenset({"audit.read"})),
            "key": Caller(STAFF, "staff", frozenset(), uuid7(), frozenset({"audit.read"}), frozenset({"audit:write"})),
        }
    )
    app = web.Application()
    install(app, [routes(log)], authenticator=doorman, settings=Settings(), secrets=Secrets(database, "s" * 32))
    async with TestClient(TestServer(app)) as client:
        yield client


async def get(client: Client, path: str, token: str, expect: int = 200) -> dict[str, Any]:
    answer = await client.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})
    body: dict[str, Any] = await answer.json()
    assert answer.status == expect, body
    return body


@pytest.fixture
def log(database: Database) -> AuditLog:
    return AuditLog(database, 400)


async def record(
    database: Database, log: AuditLog, user_id: UUID, event: str, actor_id: UUID | None = None, **details: Any
) -> None:
    async with database.transaction() as connection:
        await log.record(connection, user_id, event, ORIGIN, actor_id=actor_id, **details)


async def test_the_owner_reads_his_own_lines_and_no_others(database: Database, log: AuditLog) -> None:
    await record(database, log, ADA, "account.signed_in", methods=["pwd"])
    await record(database, log, EVE, "account.signed_in")
    await record(database, log, ADA, "roles.changed", STAFF, roles=["tutor"])
    async with serve(database, log) as client:
        changed, signed_in = (await get(client, "/audit", "ada"))["items"]
        assert signed_in["event"] == "account.signed_in"
        assert signed_in["address"] == "203.0.113.7"
        assert signed_in["user_agent"] == "Firefox"
        assert signed_in["request_id"] == "req-1"
        assert signed_in["details"] == {"methods": ["pwd"]}
        assert not signed_in["by_other"]
        assert changed["by_other"]
        assert changed["address"] == "", "where staff sit is not the account's to know"
        assert str(STAFF) not in str(changed)
        assert len((await get(client, "/audit", "eve"))["items"]) == 1
        filtered = await get(client, "/audit?event=roles.changed", "ada")
        assert [line["event"] for line in filtered["items"]] == ["roles.changed"]
        await get(client, "/audit?event='or'1", "ada", 422)
        assert (await get(client, f"/audit?user={EVE}", "ada"))["items"] == [changed, signed_in]
        await get(client, "/audit?cursor=zzz", "ada", 400)


async def test_pages_stay_right_while_lines_come_in(database: Database, log: AuditLog) -> None:
    for number in range(5):
        await record(database, log, ADA, "session.revoked", number=number)
    seen, cursor = [], ""
    async with serve(database, log) as client:
        for _ in range(3):
            page = await get(client, f"/audit?limit=2{cursor}", "ada")
            seen += [line["details"]["number"] for line in page["items"]]
            cursor = f"&cursor={page['next_cursor']}"
            await record(database, log, ADA, "session.revoked", number=99)
        assert page["next_cursor"] is None
    assert seen == [4, 3, 2, 1, 0]


async def test_staff_read_everything(database: Database, log: AuditLog) -> None:
    await record(database, log, ADA, "account.signed_in")
    await record(database, log, EVE, "roles.changed", STAFF)
    async with serve(database, log) as client:
        assert len((await get(client, "/admin/audit", "staff"))["items"]) == 2
        [line] = (await get(client, f"/admin/audit?user={EVE}", "staff"))["items"]
        assert line["actor_id"] == str(STAFF)
        assert line["address"] == "203.0.113.7"
        [by] = (await get(client, f"/admin/audit?actor={STAFF}&event=roles.changed", "staff"))["items"]
        assert by["id"] == line["id"]
        assert (await get(client, f"/admin/audit?actor={ADA}", "staff"))["items"] == []
        await get(client, "/admin/audit", "ada", 403)
        await get(client, "/admin/audit", "key", 403)
        await get(client, "/admin/audit", "nobody", 401)


async def test_a_line_is_part_of_its_transaction(database: Database, log: AuditLog) -> None:
    async with database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await log.record(connection, ADA, "password.changed", ORIGIN)
        await transaction.rollback()
        assert await lines_of(connection, ADA) == []


async def test_hostile_texts_are_kept_harmlessly(database: Database, log: AuditLog) -> None:
    async with database.transaction() as connection:
        await log.record(
            connection,
            ADA,
            "account.sign_in_failed",
            Origin("x" * 500, "a\x00b\ud800" + "y" * 500, "r"),
            name="a\x00b\ud800",
            nested={"k\x00": ["\x00"]},
        )
        [line] = await lines_of(connection, ADA)
    assert line.user_agent.startswith("ab?y")
    assert len(line.user_agent) == 200
    assert line.details == {"name": "ab?", "nested": {"k": [""]}}


@pytest.mark.parametrize("event", ["", "Password.Changed", "password", "a.b.c", "a.b\n", "a.b'; drop table users"])
async def test_an_event_is_noun_and_verb(database: Database, log: AuditLog, event: str) -> None:
    async with database.transaction() as connection:
        with pytest.raises(ValueError, match="noun"):
            await log.record(connection, ADA, event)


TAMPERING = [
    "update audit_log set event = 'nothing.happened'",
    "update audit_log set address = ''",
    "update audit_log set at = now()",
    "delete from audit_log",
    "truncate audit_log",
    "insert into audit_log select * from audit_log on conflict (id) do update set event = 'nothing.happened'",
    "merge into audit_log a using (select 1) s on true when matched then delete",
    # announced, but for more than what is allowed then
    "set local social_flow.audit = 'erasure'; update audit_log set event = 'nothing.happened'",
    "set local social_flow.audit = 'erasure'; update audit_log set address = '192.0.2.1'",
    "set local social_flow.audit = 'erasure'; update audit_log set user_id = gen_random_uuid()",
    "set local social_flow.audit = 'erasure'; update audit_log set actor_id = user_id, address = '', user_agent = '',"
    " request_id = '', details = '{}'",
    "set local social_flow.audit = 'erasure'; delete from audit_log",
    "set local social_flow.audit = 'erasure'; truncate audit_log",
    "set local social_flow.audit = 'retention'; delete from audit_log",
    "set local social_flow.audit = 'retention'; update audit_log set event = 'nothing.happened'",
    "set local social_flow.audit = 'retention'; truncate audit_log",
    "set local session_replication_role = 'replica'; delete from audit_log",
]


@pytest.mark.parametrize("sql", TAMPERING)
async def test_tampering_by_sql_is_refused(database: Database, log: AuditLog, sql: str) -> None:
    await record(database, log, ADA, "account.locked", minutes=5)
    async with database.acquire() as connection:
        before = await connection.fetch("select * from audit_log")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="new lines only"):
            await connection.execute(f"begin; {sql}; commit")
        await connection.execute("rollback")
        assert await connection.fetch("select * from audit_log") == before


async def test_erasing_an_account_leaves_bare_events(database: Database, log: AuditLog) -> None:
    await record(database, log, ADA, "email.changed", old="ada@example.org")
    await record(database, log, EVE, "roles.changed", ADA, note="by ada")
    await record(database, log, EVE, "account.signed_in", keep=True)
    async with database.transaction() as connection:
        await log.erase(connection, ADA)
        assert await lines_of(connection, ADA) == []
        stand_in = await connection.fetchval("select user_id from audit_log where event = 'email.changed'")
        assert await connection.fetchval("select count(*) from audit_log where $1 in (user_id, actor_id)", ADA) == 0
        [line] = await lines_of(connection, stand_in)
        assert (line.event, line.address, line.user_agent, line.request_id) == ("email.changed", "", "", "")
        assert line.details == {}
        signed_in, changed = await lines_of(connection, EVE)
        assert changed.details == {}
        assert signed_in.details == {"keep": True}
        # the announcement ends with the work
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with connection.transaction():
                await connection.execute("update audit_log set address = '', user_agent = '', details = '{}'")


async def test_old_lines_go(database: Database, log: AuditLog) -> None:
    old = uuid7()
    async with database.transaction() as connection:
        await connection.execute(
            "insert into audit_log (id, at, user_id, event) select gen_random_uuid(), now() - $2::interval, $1, 'a.b'"
            " from generate_series(1, 3)",
            old,
            timedelta(days=401),
        )
    await record(database, log, ADA, "account.signed_in")
    assert await AuditLog(database, 0).prune() == 0
    assert await log.prune() == 3
    async with database.acquire() as connection:
        assert len(await lines_of(connection, ADA)) == 1
        assert await lines_of(connection, old) == []
