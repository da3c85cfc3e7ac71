"""A browser that came back from a provider: who it brings, until our page or an app has fetched that with a code.

Lies sealed in the database for two minutes. The code is worth nothing to whoever sees it: it is good once, and only in
the browser that began the attempt, or with the secret that the app keeps (RFC 7636).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random
import time
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import msgspec

from server.identity.oauth import store
from server.identity.oauth.errors import BadSignInCode
from server.identity.oauth.flow import FLOW_SECONDS, Flow, browser
from server.identity.oauth.models import OneTimeCodeBody
from server.integrations.signin.provider import Stranger
from server.kit.clock import now
from server.kit.secrets import Secrets
from storage.postgres import Database

CODE_SECONDS = 120
_PURPOSE = "sign-in arrival"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """browser: the mark of the one that began. expires: seconds since 1970."""

    provider: str
    authority: str
    stranger: Stranger
    redirect: str
    challenge: str | None
    link_to: UUID | None
    browser: str
    expires: float


class Arrivals:
    def __init__(self, database: Database, secrets: Secrets) -> None:
        self._database = database
        self._secrets = secrets

    async def claim(self, state: str) -> bool:
        """Whether this state comes back for the first time."""
        at = now()
        async with self._database.transaction() as connection:
            return await store.claim_state(
                connection, _hash(state), at + timedelta(seconds=FLOW_SECONDS + CODE_SECONDS), at
            )

    async def keep(self, flow: Flow, cookie: str, authority: str, stranger: Stranger) -> str:
        """The code that fetches it."""
        code = random.token_urlsafe(32)
        arrival = Arrival(
            provider=flow.provider,
            authority=authority,
            stranger=stranger,
            redirect=flow.redirect,
            challenge=flow.challenge,
            link_to=flow.link_to,
            browser=browser(cookie),
            expires=time.time() + CODE_SECONDS,
        )
        sealed = self._secrets.seal(_PURPOSE, msgspec.msgpack.encode(arrival), _hash(code))
        async with self._database.transaction() as connection:
            await store.put_code(connection, _hash(flow.state), _hash(code), sealed)
        return code

    async def fetch(self, body: OneTimeCodeBody, browsers: Mapping[str, str]) -> Arrival:
        """Raises BadSignInCode. Whatever comes of it, the code is spent."""
        async with self._database.transaction() as connection:
            sealed = await store.take_code(connection, _hash(body.code))
        if sealed is None:
            raise BadSignInCode("This code is unknown or has been used; begin again.")
        opened = self._secrets.open(_PURPOSE, sealed, _hash(body.code))
        arrival = msgspec.msgpack.decode(opened, type=Arrival)
        if arrival.expires <= time.time():
            raise BadSignInCode("This code has expired; begin again.")
        if arrival.challenge is not None:
            if not hmac.compare_digest(_s256(body.code_verifier or ""), arrival.challenge):
                raise BadSignInCode("The code verifier is not that of the challenge.")
        elif arrival.browser not in browsers.values():
            raise BadSignInCode("This sign-in was begun in another browser.")
        return arrival


def _s256(verifier: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _hash(text: str) -> bytes:
    """256 random bits need no salt and no slow hash."""
    return hashlib.sha256(text.encode(errors="replace")).digest()
