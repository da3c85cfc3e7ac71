"""`bin/admin` and `bin/migrate`, on a database by address and on the embedded one."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from server.identity.models import LoginBody
from server.identity.service import Identity
from server.kit.audit import NoAudit
from server.kit.mail import NoMail
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.embedded import EmbeddedPostgres
from storage.postgres import Database
from tests.house.conftest import ROOT

PASSWORD = "correct horse battery"


async def command(module: str, *arguments: str, typed: str = "", **environ: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    return process.returncode, out.decode(), errors.decode()


async def test_the_first_administrator_can_log_in(empty_database_url: str) -> None:
    arguments = ("--email", "root@example.org", "--username", "keeper")
    made = await command("server.admin", *arguments, typed=PASSWORD + "\n", DATABASE_URL=empty_database_url)
    assert made == (0, "keeper is an administrator.\n", "")

    database = Database(empty_database_url, max_size=2)
    await database.start()
    identity = Identity(database, Settings(), mailer=NoMail(), audit=NoAudit(), secrets=Secrets(database, "x" * 32))
    await identity.start()
    try:
        signed_in = await identity.login(LoginBody(email="root@example.org", password=PASSWORD))
        caller = await identity.authenticate(signed_in.access_token)
        assert "admin" in caller.roles
    finally:
        await identity.close()
        await database.close()

    again = await command("server.admin", *arguments, typed=PASSWORD + "\n", DATABASE_URL=empty_database_url)
    assert again[0] == 1
    assert again[2].count("\n") == 1, "one sentence"


async def test_what_an_operator_does_to_an_account(database_url: str) -> None:
    arguments = ("--email", "root@example.org", "--username", "keeper")
    await command("server.admin", *arguments, typed=PASSWORD + "\n", DATABASE_URL=database_url)

    async def does(*words: str) -> tuple[int | None, str]:
        status, out, errors = await command("server.admin", *words, DATABASE_URL=database_url)
        return status, out or errors

    assert await does("roles", "KEEPER", "moderator", "admin") == (0, "keeper has the roles: admin, moderator.\n")
    assert await does("end-sessions", "keeper") == (0, "0 sessions of keeper ended.\n")
    assert await does("forget-factors", "keeper") == (0, "keeper has none.\n")
    assert await does("forget-factors", "nobody") == (1, "Nobody has the username nobody.\n")
    assert await does("roles", "keeper") == (0, "keeper has the roles: admin, moderator.\n")
    assert (await does("roles", "keeper", "user", "--none"))[0] == 2
    assert await does("roles", "keeper", "--none") == (1, "This is the only administrator; make another one first.\n")


async def test_a_weak_password_is_refused_in_words(database_url: str) -> None:
    arguments = ("--email", "root@example.org", "--username", "keeper")
    status, out, errors = await command("server.admin", *arguments, typed="short\n", DATABASE_URL=database_url)
    assert (status, out) == (1, "")
    assert "at least 10 characters" in errors


async def test_a_command_makes_no_database_where_the_server_has_none(tmp_path: Path) -> None:
    status, _, errors = await command("server.admin", "roles", "ada", DATA_DIR=str(tmp_path / "var"), DATABASE_URL="")
    assert (status, errors) == (1, f"There is no database in {tmp_path}/var. Give DATA_DIR as the server has it.\n")
    assert not (tmp_path / "var").exists()


async def test_without_a_terminal_admin_says_what_to_give() -> None:
    status, _, errors = await command("server.admin")
    assert status == 1
    assert "--email and --username" in errors


async def test_migrations_go_forward_back_and_forward(empty_database_url: str) -> None:
    names = [path.stem for path in sorted((ROOT / "migrations").glob("*.sql"))]
    forward = await command("server.migrate", DATABASE_URL=empty_database_url)
    assert forward[1].splitlines() == [*(f"applied {name}" for name in names), "The database is up to date."]
    back = await command("server.migrate", "--back", "2", DATABASE_URL=empty_database_url)
    assert back[1].splitlines() == [f"took back {name}" for name in reversed(names[-2:])]
    _, status, _ = await command("server.migrate", "--status", DATABASE_URL=empty_database_url)
    assert [line.split()[0] for line in status.splitlines()] == names
    assert [line.endswith("not applied") for line in status.splitlines()] == [False] * (len(names) - 2) + [True] * 2
    again = await command("server.migrate", DATABASE_URL=empty_database_url)
    assert again[1].splitlines()[:-1] == [f"applied {name}" for name in names[-2:]]
    all_back = await command("server.migrate", "--back", "99", DATABASE_URL=empty_database_url)
    assert len(all_back[1].splitlines()) == len(names), all_back[2]


async def test_a_database_that_is_away_is_one_sentence() -> None:
    status, _, errors = await command("server.migrate", DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert status == 1
    assert "Traceback" not in errors
    assert errors == "Cannot start: there is no PostgreSQL at 127.0.0.1:9. Is it running, and is DATABASE_URL right?\n"


async def test_commands_join_the_embedded_database_of_a_running_server(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "postgres")
    await embedded.start()
    try:
        status, out, errors = await command("server.migrate", DATA_DIR=str(tmp_path), DATABASE_URL="")
        assert (status, out.splitlines()[-1]) == (0, "The database is up to date."), errors
    finally:
        await embedded.close()
    # and start it themselves when there is none
    status, out, errors = await command("server.migrate", "--status", DATA_DIR=str(tmp_path), DATABASE_URL="")
    assert status == 0, errors
    assert "not applied" not in out


async def test_a_reader_that_has_seen_enough_ends_a_command_quietly(database_url: str) -> None:
    read, write = os.pipe()
    os.close(read)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.migrate", "--status"),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        stdout=write,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(write)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, errors) == (1, b"")
