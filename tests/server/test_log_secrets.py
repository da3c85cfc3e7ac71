"""Nothing secret is in the log of a server, at its most talkative: whoever may read the log can sign in as nobody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import aiohttp
import pyotp
import pytest

from tests.server.streaming.conftest import ServerProcess
from tests.servers.smtp import SmtpServer
from tests.support import eventually, free_port

PASSWORDS = ["correct horse battery", "another horse battery", "third horse battery x"]
SECRET_KEY = "the-secret-of-this-installation-in-this-test"
METRICS_TOKEN = "metrics-token-of-this-test"
_TOKEN = re.compile(r"#token=([\w.~%-]+)")


class Visitor:
    """Does what people do with their accounts, and remembers every secret that passed."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.access = ""
        self.secrets = [*PASSWORDS, SECRET_KEY, METRICS_TOKEN]

    async def do(self, method: str, path: str, body: Any = None, *, expect: int = 200, access: bool = False) -> Any:
        headers = {"Authorization": f"Bearer {self.access}"} if access else {}
        async with self.http.request(method, self.url + "/api/v1" + path, json=body, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == expect, f"{method} {path}: {answer.status} {text}"
            return await answer.json(content_type=None) if text else {}

    def signed_in(self, answer: dict[str, Any]) -> dict[str, Any]:
        self.access = answer["access_token"]
        self.secrets += [answer["access_token"], answer["refresh_token"]]
        return answer


async def mailed(server: SmtpServer, count: int) -> str:
    """The token of the newest mail that has one."""

    def found() -> list[str]:
        tokens = [_TOKEN.search(mail.part("plain")) for mail in server.mails]
        return [unquote(token[1]) for token in tokens if token is not None]

    await eventually(lambda: len(found()) >= count, what=f"{count} mails with a link")
    return found()[-1]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_the_log_has_no_secret(tmp_path: Path, database_url: str, log_format: str) -> None:
    async with SmtpServer() as mail, aiohttp.ClientSession() as http:
        server = ServerProcess(
            tmp_path / "var",
            {
                "HTTP_HOST": "127.0.0.1",
                "HTTP_PORT": str(free_port()),
                "RTMP_HOST": "127.0.0.1",
                "RTMP_PORT": str(free_port()),
                "RTC_PORT": "0",
                "DATABASE_URL": database_url,
                "DATABASE_POOL": "4",
                "REDIS_URL": "",
                "S3_ENDPOINT": "",
                "DISK_MIN_FREE": "0",
                "LOG_LEVEL": "debug",
                "LOG_FORMAT": log_format,
                "SMTP_HOST": "127.0.0.1",
                "SMTP_PORT": str(mail.port),
                "SMTP_TLS": "none",
                "SECRET_KEY": SECRET_KEY,
                "METRICS_TOKEN": METRICS_TOKEN,
            },
        )
        await server.start()
        try:
            visitor = Visitor(http, server.url)
            await visit(visitor, mail)
        finally:
            await server.stop()
    log = "\n".join(server.log)
    assert "/api/v1/auth/login" in log  # it is the log of these requests
    for secret in visitor.secrets:
        assert secret not in log
        assert len(secret) < 40 or secret[:30] not in log
    assert "ada@example.org" not in log


async def visit(visitor: Visitor, mail: SmtpServer) -> None:
    first, second, third = PASSWORDS
    do = visitor.do
    account = {"email": "ada@example.org", "username": "ada"}
    visitor.signed_in(await do("POST", "/auth/register", {**account, "password": first}, expect=201))
    verification = await mailed(mail, 1)
    visitor.secrets.append(verification)
    await do("POST", "/auth/verify-email", {"token": verification}, expect=204)
    await do("POST", "/auth/login", {"email": "ada", "password": second}, expect=401)
    # bodies that cannot be read, or do not fit, are not repeated in the log either
    await do("POST", "/auth/login", {"email": "ada", "password": first, "extra": third}, expect=422)
    async with visitor.http.post(
        visitor.url + "/api/v1/auth/login", data='{"password": "' + first, headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 400
    given = visitor.signed_in(await do("POST", "/auth/login", {"email": "ada", "password": first}))
    visitor.signed_in(await do("POST", "/auth/refresh", {"refresh_token": given["refresh_token"]}))
    await do("GET", "/auth/profile?access_token=" + visitor.access, access=True)
    await do("POST", "/auth/change-password", {"current_password": first, "password": second}, expect=204, access=True)
    await do("POST", "/auth/reset-password", {"email": "ada@example.org"}, expect=202)
    reset = await mailed(mail, 2)
    visitor.secrets.append(reset)
    await do("POST", "/auth/reset-password/confirm", {"token": reset, "password": third}, expect=204)
    visitor.signed_in(await do("POST", "/auth/login", {"email": "ada", "password": third}))
    started = await do("POST", "/live/start", {"title": "A test"}, expect=201, access=True)
    visitor.secrets.append(started["stream_key"])
    made = await do("POST", "/keys", {"name": "overlay", "scopes": ["chat:read"]}, expect=201, access=True)
    visitor.secrets.append(made["secret"])
    setup = await do("POST", "/auth/enable-2fa", {}, access=True)
    visitor.secrets.append(setup["secret"])
    code = pyotp.TOTP(setup["secret"]).now()
    recovery = await do("POST", "/auth/enable-2fa/confirm", {"code": code}, access=True)
    visitor.secrets += recovery["recovery_codes"]
    asked = await do("POST", "/auth/login", {"email": "ada", "password": third}, expect=401)
    visitor.secrets.append(asked["challenge"])
    answer = {"challenge": asked["challenge"], "code": recovery["recovery_codes"][0]}
    given = visitor.signed_in(await do("POST", "/auth/login/second-factor", answer))
    async with visitor.http.ws_connect(visitor.url + "/ws") as socket:
        await socket.send_json({"type": "hello", "token": visitor.access})
        await socket.receive(timeout=5)
    async with visitor.http.get(visitor.url + "/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"}) as page:
        assert page.status == 200
    await do("POST", "/auth/logout", {"refresh_token": given["refresh_token"]}, expect=204)
