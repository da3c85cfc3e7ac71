"""Access tokens: JWTs signed with EdDSA (RFC 8037), checked once and then remembered.

AccessTokens owns the memory of checked tokens (bounded, least recently used goes first; an entry dies with its token)
and the set of revoked sessions (an entry dies when no token of that session can still be good). Both die with it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

import jwt
import msgspec

from server.identity.keys import KeyRing
from server.identity.models import Account
from server.kit.auth import Caller
from server.kit.problems import Unauthorized

AUDIENCE = "social-flow"
ALGORITHM = "EdDSA"
CACHED_TOKENS = 10_000
_LEEWAY = 5  # s; clocks of a fleet


class Claims(msgspec.Struct, frozen=True):
    """sub: the user. sid: the session. name, roles: as they were when the token was made."""

    sub: UUID
    sid: UUID
    name: str
    roles: list[str]
    exp: int


class AccessTokens:
    def __init__(self, keys: KeyRing, seconds: int, *, cached: int = CACHED_TOKENS) -> None:
        self.seconds = seconds
        self._keys = keys
        self._limit = cached
        self._checked: OrderedDict[str, tuple[Caller, int]] = OrderedDict()
        self._revoked: dict[UUID, float] = {}
        self.checks = 0

    def issue(self, account: Account, session_id: UUID) -> str:
        kid, key = self._keys.signing
        moment = int(time.time())
        claims = {
            "iss": AUDIENCE,
            "aud": AUDIENCE,
            "sub": str(account.id),
            "sid": str(session_id),
            "name": account.username,
            "roles": account.roles,
            "iat": moment,
            "exp": moment + self.seconds,
        }
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": kid, "typ": "at+jwt"})

    async def check(self, token: str) -> Caller:
        """Raises Unauthorized, whatever the token looks like."""
        known = self._checked.get(token)
        if known is not None:
            caller, expires = known
            if expires <= time.time():
                del self._checked[token]
                raise _expired()
            self._checked.move_to_end(token)
        else:
            caller, expires = await self._verify(token)
        if caller.session_id in self._revoked:
            self._checked.pop(token, None)
            raise Unauthorized("This session has ended; sign in again.")
        if known is None:
            self._checked[token] = (caller, expires)
            if len(self._checked) > self._limit:
                self._checked.popitem(last=False)
        return caller

    def revoke(self, sessions: Iterable[UUID]) -> None:
        """From now on no token of these sessions is good."""
        until = time.time() + self.seconds + 2 * _LEEWAY
        fresh = [session for session in sessions if session not in self._revoked]
        for session in fresh:
            self._revoked[session] = until

    def forget_old(self) -> None:
        """Drop what has expired."""
        moment = time.time()
        self._revoked = {session: until for session, until in self._revoked.items() if until > moment}
        for token in [token for token, (_, expires) in self._checked.items() if expires <= moment]:
            del self._checked[token]

    def describe(self) -> dict[str, object]:
        return {"cached": len(self._checked), "revoked": len(self._revoked), "checks": self.checks}

    async def _verify(self, token: str) -> tuple[Caller, int]:
        self.checks += 1
        try:
            header = jwt.get_unverified_header(token)
            kid = header.get("kid")
            if header.get("alg") != ALGORITHM or not isinstance(kid, str):
                raise Unauthorized("The access token is not one of ours.")
            key = await self._keys.public(kid)
            if key is None:
                raise Unauthorized("The access token is not one of ours.")
            raw = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=AUDIENCE,
                leeway=_LEEWAY,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            claims = msgspec.convert(raw, Claims)
        except jwt.ExpiredSignatureError:
            raise _expired() from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):  # also what msgspec raises
            raise Unauthorized("The access token is not one of ours.") from None
        caller = Caller(claims.sub, claims.name, frozenset(claims.roles), claims.sid)
        return caller, claims.exp + _LEEWAY


def _expired() -> Unauthorized:
    return Unauthorized("The access token has expired; refresh it.")
