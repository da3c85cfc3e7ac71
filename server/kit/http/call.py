"""One request to a declared route, as its handler sees it. Dies with the answer."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from aiohttp import web

from server.kit.auth import Caller, Origin
from server.kit.http.address import ClientAddress
from server.kit.http.ifmatch import ANY, IfMatch
from server.kit.http.read import BytesReader
from server.kit.problems import Unauthorized

_USER_AGENT_LIMIT = 200


class Call:
    __slots__ = (
        "_addresses",
        "_body",
        "audit_details",
        "audit_subject",
        "caller",
        "cookies",
        "headers",
        "if_match",
        "request",
        "request_id",
    )

    def __init__(
        self,
        request: web.Request,
        request_id: str,
        caller: Caller | None,
        addresses: ClientAddress,
        body: BytesReader,
    ) -> None:
        self.request = request
        self.request_id = request_id
        self.caller = caller
        self.headers: dict[str, str] = {}  # added to the answer, also to a problem
        self.if_match: IfMatch = ANY  # on routes that take it: `call.if_match.check(row.version)`
        self.audit_subject: UUID | None = None
        self.audit_details: dict[str, object] = {}
        self.cookies: list[str] = []
        self._addresses = addresses
        self._body = body

    @property
    def user(self) -> Caller:
        """The signed-in caller. Raises Unauthorized when there is none."""
        if self.caller is None:
            raise Unauthorized()
        return self.caller

    @property
    def address(self) -> str:
        """The client's IP address; trusted proxies are looked through."""
        return self._addresses.of(self.request)

    @property
    def origin(self) -> Origin:
        return Origin(self.address, self.user_agent, self.request_id)

    async def read_bytes(self) -> bytes:
        """The body as it came, for routes that take files: no longer and no slower than the route's class allows.
        Raises BodyTooLarge, RequestTimeout, MalformedBody."""
        return await self._body.read(self.request)

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")[:_USER_AGENT_LIMIT]

    def note(self, *, about: UUID | None = None, **details: object) -> None:
        """What the audit line of this route says besides its event. about: the account, when it is not the caller's."""
        self.audit_subject = about
        self.audit_details.update(details)

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        path: str = "/",
        http_only: bool = True,
        secure: bool = False,
        same_site: Literal["Lax", "Strict", "None"] = "Lax",
    ) -> None:
        """Name and value are tokens of ours (RFC 6265, section 4.1.1), never text from a client."""
        parts = [f"{name}={value}", f"Path={path}", f"SameSite={same_site}"]
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        if http_only:
            parts.append("HttpOnly")
        if secure:
            parts.append("Secure")
        self.cookies.append("; ".join(parts))
