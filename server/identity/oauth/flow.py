"""One attempt on its way: what our side remembers while the browser is at the provider.

It lies sealed in a cookie of the browser, so it dies with that, or ten minutes after it began; the server stores
nothing until the browser is back. The cookie's name is of the attempt: several may be under way in one browser. Over
https its name begins with `__Host-`, which keeps pages of neighbouring hosts from planting one of theirs (RFC 6265bis).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets as random
import time
from collections.abc import Mapping
from uuid import UUID

import msgspec

from server.integrations.signin.provider import Attempt
from server.kit.secrets import BrokenSeal, Secrets

FLOW_SECONDS = 600
_PURPOSE = "sign-in attempt"
_TICKET = "sign-in ticket"
_NAME = "signin-"
_MOST_AT_ONCE = 4


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """redirect: a path of ours, or the address of an app, which then has a challenge. link_to: the account that asked
    for a link; None: to sign in. expires: seconds since 1970."""

    provider: str
    state: str
    nonce: str
    verifier: str
    redirect: str
    challenge: str | None
    link_to: UUID | None
    expires: float

    def attempt(self, redirect_uri: str) -> Attempt:
        return Attempt(redirect_uri, self.state, self.nonce, self.verifier)


def begin(provider: str, redirect: str, challenge: str | None, link_to: UUID | None) -> Flow:
    return Flow(
        provider=provider,
        state=random.token_urlsafe(32),
        nonce=random.token_urlsafe(32),
        verifier=random.token_urlsafe(48),
        redirect=redirect,
        challenge=challenge,
        link_to=link_to,
        expires=time.time() + FLOW_SECONDS,
    )


class Flows:
    """Seals and opens attempts. Holds nothing but the way to the key."""

    def __init__(self, secrets: Secrets, *, secure: bool) -> None:
        self._secrets = secrets
        self.secure = secure
        self._prefix = ("__Host-" if secure else "") + _NAME

    def seal(self, flow: Flow) -> str:
        """The cookie's value."""
        return self._sealed(_PURPOSE, flow, self.cookie_name(flow.state))

    def open(self, cookies: Mapping[str, str], state: str, provider: str) -> Flow | None:
        """The attempt of this state, if this browser began it, with this provider, in time."""
        name = self.cookie_name(state)
        flow = self._opened(_PURPOSE, cookies.get(name, ""), name)
        if flow is None or not random.compare_digest(flow.state.encode(), state.encode()):
            return None
        return flow if flow.provider == provider else None

    def ticket(self, flow: Flow) -> str:
        """The attempt as part of a URL, for an app that hands it to a browser, which gets the cookie then."""
        return self._sealed(_TICKET, flow, flow.provider)

    def open_ticket(self, ticket: str, provider: str) -> Flow | None:
        flow = self._opened(_TICKET, ticket, provider)
        return flow if flow is not None and flow.challenge is not None else None

    def cookie_name(self, state: str) -> str:
        return self._prefix + hashlib.sha256(state.encode()).hexdigest()[:12]

    def browsers(self, cookies: Mapping[str, str]) -> dict[str, str]:
        """Name of each cookie of an attempt → what marks the browser that holds it."""
        return {name: browser(value) for name, value in cookies.items() if name.startswith(self._prefix)}

    def surplus(self, cookies: Mapping[str, str]) -> list[str]:
        """Names of cookies to drop before one more is set, so that they never fill a request's headers."""
        names = [name for name in cookies if name.startswith(self._prefix) and self.tame(name)]
        return names[: max(0, len(names) - _MOST_AT_ONCE + 1)]

    def tame(self, name: str) -> bool:
        """Whether a name may stand in Set-Cookie: the browser sent it, but who knows who made it."""
        return name.replace("-", "").replace("_", "").isalnum() and name.isascii()

    def _sealed(self, purpose: str, flow: Flow, bound: str) -> str:
        sealed = self._secrets.seal(purpose, msgspec.msgpack.encode(flow), bound.encode())
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _opened(self, purpose: str, value: str, bound: str) -> Flow | None:
        try:
            sealed = base64.urlsafe_b64decode(value.encode("ascii") + b"=" * (-len(value) % 4))
            flow = msgspec.msgpack.decode(self._secrets.open(purpose, sealed, bound.encode()), type=Flow)
        except (BrokenSeal, binascii.Error, UnicodeEncodeError, msgspec.MsgspecError):
            return None
        return flow if flow.expires > time.time() else None


def browser(cookie: str) -> str:
    """What is kept of a cookie to know its browser again."""
    return hashlib.sha256(cookie.encode(errors="replace")).hexdigest()
