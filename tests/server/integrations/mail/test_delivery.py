"""Mail from the transaction to a real SMTP server, which is also slow, refuses, cuts connections and dies."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from server.integrations.mail import Log
from server.integrations.mail.queue import Waiting, pack, unpack
from server.kit.secrets import BrokenSeal, Secrets
from storage.jobs import Hopeless
from storage.postgres import Database
from tests.server.integrations.mail.post import LINK, SECRET, post, to
from tests.servers.smtp import SmtpServer, certificate
from tests.support import eventually


@pytest.fixture
async def server() -> AsyncIterator[SmtpServer]:
    async with SmtpServer() as running:
        yield running


async def test_a_mail_arrives_in_both_forms(database: Database, database_url: str, server: SmtpServer) -> None:
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send()
        await eventually(lambda: server.mails)
        [got] = server.mails
        assert got.recipients == ["ada@example.org"]
        assert got.sender == "no-reply@live.example.org"
        message = got.message
        assert message["From"] == "Social Flow <no-reply@live.example.org>"
        assert message["To"] == "ada@example.org"
        assert message["Subject"] == "Confirm your e-mail address"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["Date"].datetime.tzinfo is not None
        assert message["Message-ID"].endswith("@live.example.org>")
        assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
        assert LINK in got.part("plain")
        assert f'href="{LINK}"' in got.part("html")
        await eventually(lambda: mail.delivery.describe()["sent"] == 1)
        assert await eventually(lambda: _none_left(mail)), "the job is done and its payload gone"


async def _none_left(mail: object) -> bool:
    return await mail.jobs() == []  # type: ignore[attr-defined,no-any-return]


async def test_a_transaction_that_is_rolled_back_sends_nothing(
    database: Database, database_url: str, server: SmtpServer
) -> None:
    async with post(database, database_url, to(server.port)) as mail:
        async with database.acquire() as connection:
            transaction = connection.transaction()
            await transaction.start()
            values = {"username": "ada", "url": LINK, "hours": 1}
            await mail.mails.send(connection, "never@example.org", "verify_email", values)
            await transaction.rollback()
        await mail.send()
        await eventually(lambda: server.mails)
        assert [got.recipients for got in server.mails] == [["ada@example.org"]]


async def test_what_waits_is_sealed(database: Database, database_url: str, server: SmtpServer) -> None:
    async with post(database, database_url, to(server.port), start=False) as mail:
        await mail.send()
        [(status, payload)] = await mail.jobs()
        assert status == "queued"
        assert b"ada" not in payload
        assert b"token" not in payload
        secrets = Secrets(database, SECRET)
        assert unpack(secrets, payload).to == "ada@example.org"
        other = pack(secrets, Waiting(uuid4(), "eve@example.org", "verify_email", {}))
        with pytest.raises(BrokenSeal):
            unpack(secrets, payload[:16] + other[16:])
        with pytest.raises(Hopeless):
            await mail.delivery.deliver(b"nonsense")


@pytest.mark.parametrize("mood", ["451 4.3.0 come back later", "drop", "421 4.3.2 closing"])
async def test_a_failure_that_may_pass_is_tried_again_with_the_same_message_id(
    database: Database, database_url: str, server: SmtpServer, mood: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.moods.extend([mood, mood])
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send()
        await eventually(lambda: server.mails)
        assert server.attempts == 3
        await eventually(lambda: mail.delivery.describe()["sent"] == 1)
        assert mail.delivery.describe()["put_off"] == 2
    assert "ada@example.org" not in caplog.text


async def test_a_mail_whose_acceptance_got_lost_comes_twice_and_can_be_recognised(
    database: Database, database_url: str, server: SmtpServer
) -> None:
    server.moods.append("drop after")
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send()
        await eventually(lambda: len(server.mails) == 2)
        first, second = server.mails
        assert first.message["Message-ID"] == second.message["Message-ID"]
        assert first.raw == second.raw


async def test_a_refusal_is_final_and_said(
    database: Database, database_url: str, server: SmtpServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse["ada@example.org"] = "550 5.1.1 <ada@example.org> unknown user"
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send()
        assert await eventually(lambda: _failed(mail)), "the job is failed, not queued"
        assert server.attempts == 1
        assert mail.delivery.describe()["refused"] == 1
        async with database.acquire() as connection:
            kept = await connection.fetchval("select string_agg(traceback::text, ' ') from pgqueuer_log")
            # what failed long ago is forgotten, what failed today is not
            await mail.delivery.forget_failed(b"")
            assert len(await mail.jobs()) == 1
            await connection.execute("update pgqueuer set updated = now() - interval '15 days'")
            await mail.delivery.forget_failed(b"")
            assert await mail.jobs() == []
    assert "550 5.1.1" in caplog.text
    assert "failed for good after 1 attempts" in caplog.text
    assert "ada@example.org" not in caplog.text
    assert "550 5.1.1" in kept
    assert "ada@example.org" not in kept


async def _failed(mail: object) -> bool:
    return [status for status, _ in await mail.jobs()] == ["failed"]  # type: ignore[attr-defined]


async def test_attempts_end(database: Database, database_url: str, server: SmtpServer) -> None:
    server.moods.extend(["451 no"] * 10)
    async with post(database, database_url, to(server.port), attempts=3) as mail:
        await mail.send()
        await eventually(lambda: _failed(mail))
        assert server.attempts == 3


async def test_a_server_that_is_down_gets_the_mail_when_it_is_up(database: Database, database_url: str) -> None:
    async with SmtpServer() as server:
        port = server.port
        await server.close()
        async with post(database, database_url, to(port), attempts=100) as mail:
            await mail.send()
            await eventually(lambda: mail.delivery.describe()["put_off"])
            await server.start(port)
            await eventually(lambda: server.mails)


async def test_a_server_that_never_answers_holds_nobody_for_long(
    database: Database, database_url: str, server: SmtpServer
) -> None:
    server.moods.append("hang")
    async with post(database, database_url, to(server.port, timeout=0.2)) as mail:
        await mail.send()
        await eventually(lambda: server.mails)
        assert server.attempts == 2


async def test_starttls_and_signing_in(database: Database, database_url: str, tmp_path: Path) -> None:
    tls, trusted = certificate(tmp_path)
    async with SmtpServer(tls=tls, login=("postman", "rings twice")) as server:
        outlet = to(server.port, tls="starttls", username="postman", password="rings twice", ca=str(trusted))
        async with post(database, database_url, outlet) as mail:
            await mail.send()
            await eventually(lambda: server.mails)
        assert server.mails[0].secured
        assert server.mails[0].user == b"postman"


@pytest.mark.parametrize("wrong", ["password", "authority", "name"])
async def test_a_server_that_is_not_to_be_trusted_or_does_not_trust_us_gets_nothing(
    database: Database, database_url: str, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    tls, trusted = certificate(tmp_path, "elsewhere.example.org" if wrong == "name" else "localhost")
    async with SmtpServer(tls=tls, login=("postman", "rings twice")) as server:
        outlet = to(
            server.port,
            tls="starttls",
            username="postman",
            password="knocks" if wrong == "password" else "rings twice",
            ca="" if wrong == "authority" else str(trusted),
        )
        async with post(database, database_url, outlet, attempts=2) as mail:
            await mail.send()
            await eventually(lambda: _failed(mail))
            # it was our configuration, so it was not final at once
            assert mail.delivery.describe()["put_off"] == 2
    assert server.mails == []
    assert "rings twice" not in caplog.text
    assert "knocks" not in caplog.text


async def test_no_mail_goes_in_the_clear_when_encryption_is_asked_for(
    database: Database, database_url: str, server: SmtpServer
) -> None:
    async with post(database, database_url, to(server.port, tls="starttls"), attempts=1) as mail:
        await mail.send()
        await eventually(lambda: _failed(mail))
    assert server.mails == []


async def test_addresses_beyond_ascii(database: Database, database_url: str) -> None:
    async with SmtpServer(utf8=True) as server, post(database, database_url, to(server.port)) as mail:
        await mail.send("ada@bücher.example")
        await mail.send("ädä@bücher.example")
        await eventually(lambda: len(server.mails) == 2)
        assert sorted(got.recipients[0] for got in server.mails) == [
            "ada@xn--bcher-kva.example",
            "ädä@xn--bcher-kva.example",
        ]


async def test_a_server_without_smtputf8_refuses_a_name_beyond_ascii(
    database: Database, database_url: str, server: SmtpServer
) -> None:
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send("ädä@example.org")
        await eventually(lambda: _failed(mail))
        assert mail.delivery.describe()["refused"] == 1


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.org\r\nBcc: all@example.org",
        "ada@example.org>\r\nRCPT TO:<all@example.org",
        "ada@example.org, all@example.org",
        "<ada@example.org>",
        "ada@example.org\x00",
        "ada",
        "",
        "@example.org",
        "ada@" + "x" * 300,
        "ada@exa mple.org",
    ],
)
async def test_what_is_no_address_reaches_no_server(
    database: Database, database_url: str, server: SmtpServer, address: str
) -> None:
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send(address)
        await eventually(lambda: _failed(mail))
        assert server.attempts == 0


async def test_values_cannot_leave_their_place(database: Database, database_url: str, server: SmtpServer) -> None:
    hostile = "x\r\nBcc: all@example.org\r\n\r\n.\r\n<script>alert(1)</script>{{ 7*7 }}"
    async with post(database, database_url, to(server.port)) as mail:
        await mail.send(template="api_key_made", username=hostile, name=hostile, when=hostile)
        await eventually(lambda: server.mails)
        [got] = server.mails
        assert got.recipients == ["ada@example.org"]
        assert got.message["Bcc"] is None
        assert "<script>" not in got.part("html")
        assert "49" not in got.part("html")


async def test_without_a_server_the_text_is_in_the_log(
    database: Database, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with post(database, database_url, Log()) as mail:
        await mail.send()
        await eventually(lambda: mail.delivery.describe()["sent"])
    assert f"| {LINK}" in caplog.messages
    assert "Confirm your e-mail address" in caplog.text
    assert "SMTP_HOST is empty" in caplog.text


async def test_a_mail_that_nobody_wrote_is_refused_at_once(database: Database, database_url: str) -> None:
    async with post(database, database_url, Log(), start=False) as mail:
        for template, values in (
            ("no_such_mail", {}),
            ("verify_email", {"username": "ada"}),
            ("verify_email", {"username": "ada", "hours": 1, "url": "javascript:alert(1)"}),
        ):
            async with database.transaction() as connection:
                with pytest.raises(ValueError, match="mail"):
                    await mail.mails.send(connection, "ada@example.org", template, values)
        assert await mail.jobs() == []
