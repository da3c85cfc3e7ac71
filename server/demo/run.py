"""The parent half of the demo: a user, a broadcast and a child process that pushes, made through the public API.

The account is kept in `demo.json` under the data folder (readable by this user alone), so that the next start uses the
same channel; a broadcast that is still open is continued.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Demo: a moving clock"
DESCRIPTION = "A generated picture with a clock and a tone each second, pushed through RTMP by the server's --demo."
BACKOFF_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
URL_VARIABLE = "SOCIAL_FLOW_DEMO_RTMP"
"""How the child gets the address with the key: a command line can be read by every user of the machine."""


class DemoError(Exception):
    """Why there is no demo, in words."""


class Account(msgspec.Struct):
    username: str
    password: str
    stream_key: str = ""


async def run_demo(*, api: str, rtmp: str, data_dir: Path) -> None:
    """Push until cancelled. api: http://HOST:PORT; rtmp: rtmp://HOST:PORT/live, without a key. Raises DemoError."""
    file = data_dir / "demo.json"
    account = await asyncio.to_thread(_load, file)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        client = _Client(http, api)
        account = await client.sign_in(account)
        await asyncio.to_thread(_save, file, account)
        broadcast = await client.broadcast(account)
        account.stream_key = await client.stream_key(account)
        await asyncio.to_thread(_save, file, account)
    _say(f"  Demo        {api}/watch/{broadcast}")
    _say(f"  Demo user   {account.username}, password {account.password}   (kept in {file})")
    await _keep_pushing(f"{rtmp}/{account.stream_key}")


class _Client:
    """The few calls of the API that the demo makes."""

    def __init__(self, http: aiohttp.ClientSession, api: str) -> None:
        self._http = http
        self._api = api
        self._token = ""

    async def sign_in(self, known: Account | None) -> Account:
        """Log in, else register; the account that it became."""
        if known is not None:
            answer, status = await self._call(
                "POST", "/auth/login", {"email": known.username, "password": known.password}
            )
            if status == 200:
                self._token = answer["access_token"]
                return known
        for username in ("demo", f"demo-{secrets.token_hex(3)}"):
            account = Account(username, secrets.token_urlsafe(15))
            body = {"email": f"{username}@demo.example", "username": username, "password": account.password}
            answer, status = await self._call("POST", "/auth/register", body)
            if status == 201:
                self._token = answer["access_token"]
                return account
            if status != 409:
                break
        raise DemoError(f"its user cannot be made: {_detail(answer, status)}")

    async def broadcast(self, account: Account) -> str:
        """The id of a broadcast that is open already, or of a new one. A key that comes with it is noted."""
        mine, status = await self._call("GET", "/live/mine")
        if status == 200:
            for item in mine["items"]:
                if item["state"] != "ended":
                    return str(item["id"])
        started, status = await self._call("POST", "/live/start", {"title": TITLE, "description": DESCRIPTION})
        if status != 201:
            raise DemoError(f"its broadcast cannot be started: {_detail(started, status)}")
        account.stream_key = started["stream_key"] or account.stream_key
        return str(started["id"])

    async def stream_key(self, account: Account) -> str:
        """The key that we know, when it is still the channel's; else a new one."""
        shown, status = await self._call("GET", "/live/key")
        if status == 200 and shown["exists"] and account.stream_key and account.stream_key.endswith(shown["hint"]):
            return account.stream_key
        made, status = await self._call("POST", "/live/key")
        if status not in (200, 201) or not made.get("stream_key"):
            raise DemoError(f"it gets no stream key: {_detail(made, status)}")
        return str(made["stream_key"])

    async def _call(self, method: str, path: str, body: object = None) -> tuple[Any, int]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            async with self._http.request(method, f"{self._api}/api/v1{path}", json=body, headers=headers) as answer:
                data = await answer.read()
                return (msgspec.json.decode(data) if data else {}), answer.status
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
            raise DemoError(f"{path} gave no answer: {error or type(error).__name__}") from error


async def _keep_pushing(url: str) -> None:
    """Run the child, and again with a growing pause when it dies. Ends it when cancelled."""
    failures = 0
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "server.demo"),
            cwd=ROOT,
            env={**os.environ, URL_VARIABLE: url},
            # The child ends when this pipe closes: also when this process is killed.
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            status = await child.wait()
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.terminate()
                await child.wait()
        failures = 1 if loop.time() - started > 60 else failures + 1
        pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
        _say(f"demo: the pushing process ended with {status}; again in {pause:g} s")
        await asyncio.sleep(pause)


def _load(file: Path) -> Account | None:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(file.read_bytes(), type=Account)
    return None


def _save(file: Path, account: Account) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.encode(account))
    new.replace(file)


def _detail(answer: Any, status: int) -> str:
    detail = answer.get("detail") if isinstance(answer, dict) else None
    return f"{detail or 'no reason given'} (status {status})"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
