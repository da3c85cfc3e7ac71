"""Signing in with accounts elsewhere, over HTTP, with browsers that keep cookies as browsers do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.identity.factors import routes as factor_routes
from server.identity.factors.service import Factors
from server.identity.oauth import routes as oauth_routes
from server.identity.oauth.service import Oauth
from server.identity.routes import routes
from server.identity.service import Identity
from server.integrations.signin.provider import Attempt, Provider, ProviderAway, ProviderError, Stranger
from server.kit.http import install
from server.kit.secrets import Secrets
from server.settings import Settings
from storage.postgres import Database
from tests.server.identity.stack import SECRET, Client, Events, Mailbox, bearer

BASE = "https://social.test"
APP = "org.example.app:/signin"
API = "/api/v1/auth/oauth"
FREE = {"rate_limit_auth": "off", "rate_limit_refresh": "off", "rate_limit_write": "off", "rate_limit_read": "off"}


class Elsewhere:
    """A provider whose people are whom the test says: code → who."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.title = key.title()
        self.authority = f"https://{key}.example"
        self.people: dict[str, Stranger] = {}
        self.seen: list[tuple[Attempt, str, str | None]] = []
        self.error: ProviderError | None = None

    async def address(self, attempt: Attempt) -> str:
        if self.error is not None:
            raise self.error
        query = {"state": attempt.state, "redirect_uri": attempt.redirect_uri, "code_challenge": attempt.challenge}
        return f"{self.authority}/authorize?{urlencode(query)}"

    async def identify(self, attempt: Attempt, code: str, issuer: str | None) -> Stranger:
        self.seen.append((attempt, code, issuer))
        if self.error is not None:
            raise self.error
        if code not in self.people:
            raise ProviderError("this code is unknown")
        return self.people[code]


@dataclass
class Said:
    """An answer. where: its Location."""

    status: int
    body: dict[str, Any]
    where: str
    cookies: list[str]

    @property
    def fragment(self) -> dict[str, str]:
        """What our page is told."""
        parts = urlsplit(self.where)
        assert (parts.scheme, parts.netloc, parts.path, parts.query) == ("", "", "/account/signin", ""), self.where
        return {name: values[0] for name, values in parse_qs(parts.fragment).items()}


@dataclass
class Browser:
    """Keeps cookies and sends them back; the server believes it is reached over https."""

    client: Client
    cookies: dict[str, str] = field(default_factory=dict)
    token: str = ""

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Said:
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if self.token:
            headers |= bearer(self.token)
        if not self.cookies:
            del headers["Cookie"]
        answer = await self.client.request(
            method, path, json=body if method == "POST" else None, headers=headers, allow_redirects=False
        )
        set_cookies = answer.headers.getall("Set-Cookie", [])
        for text in set_cookies:
            for name, morsel in SimpleCookie(text).items():
                self.cookies.pop(name, None)
                if morsel["max-age"] != "0":
                    self.cookies[name] = morsel.value
        decoded = await answer.json() if "json" in answer.content_type else {}
        return Said(answer.status, decoded, answer.headers.get("Location", ""), set_cookies)

    async def start(self, provider: str = "acme", **body: Any) -> str:
        said = await self.call("POST", f"{API}/{provider}/start", body)
        assert said.status == 200, said.body
        return str(said.body["url"])

    async def come_back(self, url: str, provider: str = "acme", **query: str) -> Said:
        """The provider sends the browser to us. url: where it had been sent; its state comes with it."""
        state = parse_qs(urlsplit(url).query)["state"][0]
        return await self.call("GET", f"{API}/{provider}/callback?{urlencode({'state': state, **query})}")

    async def trade(self, code: str, **more: str) -> Said:
        return await self.call("POST", f"{API}/token", {"code": code, **more})

    async def sign_in(self, code: str, provider: str = "acme", **body: Any) -> Said:
        """All of it, up to the answer with the tokens. code: that of a provider's person."""
        back = await self.come_back(await self.start(provider, **body), provider, code=code)
        said = await self.trade(back.fragment["code"])
        if said.status == 200:
            self.token = said.body["access_token"]
        return said

    async def link(self, code: str, provider: str = "acme") -> Said:
        begun = await self.call("POST", f"{API}/{provider}/link", {"redirect": "/account"})
        if begun.status != 200:
            return begun
        back = await self.come_back(begun.body["url"], provider, code=code)
        return await self.call("POST", f"{API}/links", {"code": back.fragment["link"]})


@dataclass
class Stage:
    client: Client
    database: Database
    identity: Identity
    factors: Factors
    oauth: Oauth
    mailbox: Mailbox
    events: Events
    acme: Elsewhere
    other: Elsewhere

    def browser(self) -> Browser:
        return Browser(self.client)

    async def verify(self, username: str) -> None:
        async with self.database.acquire() as connection:
            await connection.execute("update users set email_verified_at = now() where username = $1", username)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        async with self.database.acquire() as connection:
            return await connection.fetchval(sql, *values)


@asynccontextmanager
async def stage(
    identity: Identity,
    database: Database,
    mailbox: Mailbox,
    events: Events,
    providers: Mapping[str, Provider] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    given = Settings(**{**FREE, "public_url": BASE, "oauth_app_redirects": APP, **settings})
    secrets = Secrets(database, SECRET)
    factors = Factors(database, given, identity, mailer=mailbox, audit=events, secrets=secrets)
    identity.use_factors(factors)
    acme, other = Elsewhere("acme"), Elsewhere("other")
    known: Mapping[str, Provider] = {"acme": acme, "other": other} if providers is None else providers
    oauth = Oauth(identity, known, database=database, settings=given, secrets=secrets, mailer=mailbox, audit=events)
    factors.passkeys.add_way(oauth.opens)
    app = web.Application()
    features = [routes(identity, given), factor_routes.routes(factors, given), oauth_routes.routes(oauth)]
    install(app, features, authenticator=identity, settings=given)
    async with TestClient(TestServer(app)) as client:
        yield Stage(client, database, identity, factors, oauth, mailbox, events, acme, other)


def changed(text: str, pattern: str, new: str) -> str:
    made, count = re.subn(pattern, new, text, count=1)
    assert count == 1
    return made


__all__ = ["API", "APP", "BASE", "Browser", "Elsewhere", "ProviderAway", "Said", "Stage", "changed", "stage"]
