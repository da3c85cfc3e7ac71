"""Access tokens: JWTs signed with EdDSA (RFC 8037), checked once and then remembered.

AccessTokens owns the memory of checked tokens (bounded, least recently used goes first; an entry dies with its token)
and the set of revoked sessions (an entry dies when no token of that session can still be good), and what has changed
about accounts since their tokens were made (as long as such a token can still be good). All of it dies with it.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import jwt
import msgspec

from server.identity.access.roles import permissions_of
from server.identity.keys import KeyRing
from server.identity.models import Account, Facts
from server.kit.auth import FREE, Caller
from server.kit.problems import Unauthorized

AUDIENCE = "social-flow"
ALGORITHM = "EdDSA"
CACHED_TOKENS = 10_000
_LEEWAY = 5  # s; clocks of a fleet


class Claims(msgspec.Struct, frozen=True):
    """sub: the user. sid: the session. name, roles, tier: as they were when the token was made. auth_time: when the
    person had last proved who he is, seconds since 1970."""

    sub: UUID
    sid: UUID
    name: str
    roles: list[str]
    exp: int
    tier: str = FREE
    auth_time: int = 0


class AccessTokens:
    def __init__(self, keys: KeyRing, seconds: int, *, cached: int = CACHED_TOKENS) -> None:
        self.seconds = seconds
        self._keys = keys
        self._limit = cached
        self._checked: OrderedDict[str, tuple[Caller, int]] = OrderedDict()
        self._revoked: dict[UUID, float] = {}
        self._facts: dict[UUID, tuple[Facts, float]] = {}
        self.checks = 0

    def issue(self, account: Account, session_id: UUID, proven_at: datetime) -> str:
        """proven_at: when the person last showed a password or another factor."""
        kid, key = self._keys.signing
        moment = int(time.time())
        claims = {
            "iss": AUDIENCE,
            "aud": AUDIENCE,
            "sub": str(account.id),
            "sid": str(session_id),
            "name": account.username,
            "roles": account.roles,
            "tier": account.tier,
            "auth_time": int(proven_at.timestamp()),
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
            raise _ended()
        if known is None:
            self._checked[token] = (caller, expires)
            if len(self._checked) > self._limit:
                self._checked.popitem(last=False)
        return caller

    def revoke(self, sessions: Iterable[UUID]) -> list[UUID]:
        """From now on no token of these sessions is good. Those of them that were until now."""
        until = time.time() + self.seconds + 2 * _LEEWAY
        fresh = [session for session in sessions if session not in self._revoked]
        for session in fresh:
            self._revoked[session] = until
        return fresh

    def present(self, caller: Caller) -> Caller:
        """The caller as he is now: what changed since is put right. Raises Unauthorized when he was revoked."""
        if caller.session_id in self._revoked:
            raise _ended()
        known = self._facts.get(caller.user_id)
        if known is None:
            return caller
        facts = known[0]
        if facts.disabled:
            raise _ended()
        return replace(
            caller,
            username=facts.username,
            roles=facts.roles,
            permissions=permissions_of(facts.roles),
            tier=facts.tier,
        )

    def adopt(self, changed: Iterable[Facts]) -> set[UUID]:
        """From now on tokens of these accounts, older or newer, mean this. The accounts for which that is new."""
        until = time.time() + self.seconds + 2 * _LEEWAY
        fresh = set()
        for facts in changed:
            known = self._facts.get(facts.user_id)
            self._facts[facts.user_id] = (facts, until)
            if known is None or known[0] != facts:
                fresh.add(facts.user_id)
        if fresh:
            for token in [token for token, (caller, _) in self._checked.items() if caller.user_id in fresh]:
                del self._checked[token]
        return fresh

    def disabled(self, user_id: UUID) -> bool:
        """Whether tokens of this account are refused, as far as is known here."""
        known = self._facts.get(user_id)
        return known is not None and known[0].disabled

    def forget_old(self) -> None:
        """Drop what has expired."""
        moment = time.time()
        self._facts = {user: known for user, known in self._facts.items() if known[1] > moment}
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
        roles = frozenset(claims.roles)
        caller = Caller(
            claims.sub,
            claims.name,
            roles,
            claims.sid,
            permissions=permissions_of(roles),
            tier=claims.tier,
            proven_at=float(claims.auth_time),
        )
        return self.present(caller), claims.exp + _LEEWAY


def _ended() -> Unauthorized:
    return Unauthorized("This session has ended; sign in again.")


def _expired() -> Unauthorized:
    return Unauthorized("The access token has expired; refresh it.")
