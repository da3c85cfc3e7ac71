"""Who is calling, and what the HTTP kit and the sockets ask of whoever knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from server.kit.problems import Unauthorized

__all__ = ["ADMIN", "FREE", "Authenticator", "Caller", "Origin", "Unauthorized"]

ADMIN = "admin"
FREE = "free"


@dataclass(frozen=True, slots=True)
class Caller:
    """A person, or a program with a key of his, whose token has been checked. Lives as long as the token is cached.

    session_id: what is revoked to end the token's life: the session, or the API key. permissions: what the roles of the
    account allow. scopes: what an API key was made for, as `live:read`; None: all that the account may do. tier: the
    class of rate limits. proven_at: when the person last showed a password or another factor, in seconds since 1970;
    0 for an API key, which proves nobody's presence.
    """

    user_id: UUID
    username: str
    roles: frozenset[str]
    session_id: UUID
    permissions: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    tier: str = FREE
    proven_at: float = 0.0

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles

    @property
    def by_key(self) -> bool:
        """Whether a program with an API key is calling."""
        return self.scopes is not None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from, for sessions and the audit log. address: IP; request_id: as in the log lines.

    device: the random number in the cookie of a device that signs in; empty when there is none.
    """

    address: str = ""
    user_agent: str = ""
    request_id: str = ""
    device: str = ""


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Caller:
        """The caller behind an access token. Raises Unauthorized, whatever the token looks like."""
        ...
