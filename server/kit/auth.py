"""Who is calling, and what the HTTP kit and the sockets ask of whoever knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from server.kit.problems import Unauthorized

__all__ = ["ADMIN", "Authenticator", "Caller", "Unauthorized"]

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """A person with a checked access token. Lives as long as the token is cached."""

    user_id: UUID
    username: str
    roles: frozenset[str]
    session_id: UUID

    @property
    def is_admin(self) -> bool:
        return ADMIN in self.roles


class Authenticator(Protocol):
    async def authenticate(self, token: str) -> Caller:
        """The caller behind an access token. Raises Unauthorized, whatever the token looks like."""
        ...
