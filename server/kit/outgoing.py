"""HTTP to addresses that somebody else chose: a user, or the answer of another server.

Outgoing owns the connections that it keeps open, from `start` to `close`. Whatever the URL says, a request reaches only
addresses of the public Internet and ports that are allowed: the address is checked at the moment a socket is made for
it, so a name that changes its mind between a check and the connection (DNS rebinding) gains nothing, and neither does a
redirect. Names are resolved anew for each connection, and a name of which one address is refused is refused.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
from aiohttp import hdrs
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from server.kit.reachable import Reachable, refused_host

MAX_BYTES = 1024 * 1024
SECONDS = 10.0
_URL_LIMIT = 4096
_CONNECTIONS = 100
_PER_HOST = 10
_CHUNK = 64 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_PRIVATE_HEADERS = (hdrs.AUTHORIZATION, hdrs.COOKIE, hdrs.PROXY_AUTHORIZATION)


class OutgoingError(Exception):
    """No answer that could be used. The text is for logs, and names no secret."""


class Refused(OutgoingError):
    """This URL, or an address that it leads to, is none that this server calls."""


class NoAnswer(OutgoingError):
    """The other server is away, too slow, or says more than it should."""


@dataclass(frozen=True, slots=True)
class Answer:
    """status: as given, also 4xx and 5xx. body: decoded, complete. url: the one that answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def content_type(self) -> str:
        """The media type alone, in lower case."""
        return self.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """Raises NoAnswer for what is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NoAnswer(f"{_shown(URL(self.url))} answered {self.status} with something that is not JSON") from None


class Outgoing:
    def __init__(
        self,
        reachable: Reachable,
        *,
        user_agent: str = "social-flow",
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """resolver: how names become addresses, for tests. tls: whom to trust; None: the system's authorities."""
        self._reachable = reachable
        self._user_agent = user_agent
        self._resolver = resolver
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._sent = self._refused = self._failed = 0

    async def start(self) -> None:
        resolver = self._resolver or ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=_Checked(resolver, self._reachable),
            socket_factory=self._socket,  # the last moment before the connection, also for an address in the URL
            use_dns_cache=False,
            limit=_CONNECTIONS,
            limit_per_host=_PER_HOST,
            ssl=True if self._tls is None else self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # neither proxies nor passwords of ~/.netrc
            requote_redirect_url=False,
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def describe(self) -> dict[str, object]:
        return {"sent": self._sent, "refused": self._refused, "failed": self._failed}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of them allowed, for those who connect by another protocol: connect to these.

        Raises Refused, NoAnswer.
        """
        try:
            if (why := refused_host(host)) is not None:
                raise Refused(f"{host}: {why}")
            found = await _Checked(self._resolver or ThreadedResolver(), self._reachable).resolve(
                host, port, socket.AF_UNSPEC
            )
        except _RefusedAddress as error:
            self._refused += 1
            raise Refused(str(error)) from None
        except OSError as error:
            raise NoAnswer(f"{host} has no address: {error}") from None
        return [each["host"] for each in found]

    async def get(self, url: str, **options: Any) -> Answer:
        """As `request`, following up to three redirects unless told otherwise."""
        return await self.request("GET", url, **{"redirects": 3, **options})

    async def post(self, url: str, **options: Any) -> Answer:
        return await self.request("POST", url, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        form: Mapping[str, str] | None = None,
        max_bytes: int = MAX_BYTES,
        seconds: float = SECONDS,
        redirects: int = 0,
        schemes: Collection[str] = ("https", "http"),
    ) -> Answer:
        """One request and its whole answer. A redirect beyond `redirects` is an answer like any other.

        form: sent as application/x-www-form-urlencoded. max_bytes: of the body, as sent and as unpacked. seconds: for
        everything, redirects included. schemes: what the URL and its redirects may begin with; from https none leads
        back to http. Only GET and HEAD are sent again to where a redirect points; credentials stay with the origin that
        they were meant for. Raises Refused, NoAnswer.
        """
        if self._session is None:
            raise RuntimeError("Outgoing.start has not run")
        sent = {hdrs.USER_AGENT: self._user_agent, hdrs.ACCEPT_ENCODING: "identity", **(headers or {})}
        target = self._checked(url, schemes)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    self._sent += 1
                    async with self._session.request(
                        method,
                        target,
                        headers=sent,
                        data=form if body is None else body,
                        allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(total=None, sock_connect=seconds, sock_read=seconds),
                    ) as response:
                        location = response.headers.get(hdrs.LOCATION)
                        follow = response.status in _REDIRECTS and location is not None and method in {"GET", "HEAD"}
                        if follow and redirects > 0 and location is not None:
                            redirects -= 1
                            following = self._following(target, location, schemes)
                            if following.origin() != target.origin():
                                private = {name.lower() for name in _PRIVATE_HEADERS}
                                sent = {name: value for name, value in sent.items() if name.lower() not in private}
                            target = following
                            continue
                        received = await _read(response, max_bytes)
                        return Answer(response.status, response.headers.copy(), received, str(target))
        except (_RefusedAddress, aiohttp.InvalidURL) as error:
            self._refused += 1
            raise Refused(f"{_shown(target)}: {error}") from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorDNSError) as error:
            if isinstance(error.os_error, _RefusedAddress):
                self._refused += 1
                raise Refused(f"{_shown(target)}: {error.os_error}") from None
            self._failed += 1
            raise NoAnswer(f"{_shown(target)}: {error.os_error}") from None
        except TimeoutError:
            self._failed += 1
            raise NoAnswer(f"{_shown(target)} did not answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self._failed += 1
            raise NoAnswer(f"{_shown(target)}: {type(error).__name__}: {error}") from None

    def _checked(self, text: str, schemes: Collection[str]) -> URL:
        """The URL as it will be called; nobody parses it again. Raises Refused."""
        try:
            if len(text) > _URL_LIMIT or _ODD.search(text):
                raise Refused("the URL is too long, or has spaces, control characters or backslashes")
            return self._allowed(URL(text), schemes)
        except (ValueError, TypeError) as error:
            self._refused += 1
            raise Refused(f"this is not a URL: {type(error).__name__}") from None
        except Refused:
            self._refused += 1
            raise

    def _following(self, target: URL, location: str, schemes: Collection[str]) -> URL:
        try:
            if len(location) > _URL_LIMIT or _ODD.search(location):
                raise Refused("a redirect to something that is no URL")
            following = self._allowed(target.join(URL(location)), schemes)
        except (ValueError, TypeError):
            self._refused += 1
            raise Refused(f"{_shown(target)} redirects to something that is no URL") from None
        except Refused:
            self._refused += 1
            raise
        if target.scheme == "https" and following.scheme != "https":
            self._refused += 1
            raise Refused(f"{_shown(target)} redirects from https to http")
        return following

    def _allowed(self, url: URL, schemes: Collection[str]) -> URL:
        if url.scheme not in schemes:
            raise Refused(f"the scheme is {url.scheme or 'missing'!r}; it must be {' or '.join(schemes)}")
        if url.user is not None or url.password is not None:
            raise Refused("the URL has a user name or a password in it")
        if (why := refused_host(url.raw_host or "")) is not None:
            raise Refused(why)
        if not self._reachable.port_known(url.port or 0):
            raise Refused(f"port {url.port} is not allowed")
        return url.with_fragment(None)

    def _socket(self, address: Any) -> socket.socket:
        """Called for each address that is about to be connected to."""
        family, kind, protocol, _, where = address
        if (why := self._reachable.refusal(where[0], where[1])) is not None:
            raise _RefusedAddress(why)
        return socket.socket(family=family, type=kind, proto=protocol)


class _RefusedAddress(OSError):
    """An OSError, so that it passes through aiohttp as a failed connection does."""


class _Checked(AbstractResolver):
    """Refuses a name of which one address is refused: who mixes public with private ones wants one of them reached."""

    def __init__(self, resolver: AbstractResolver, reachable: Reachable) -> None:
        self._resolver = resolver
        self._reachable = reachable

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            if (why := self._reachable.refusal(each["host"], port)) is not None:
                raise _RefusedAddress(why)
        return found

    async def close(self) -> None:
        await self._resolver.close()


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body, never holding more than the limit and one chunk. Raises NoAnswer."""
    if (response.content_length or 0) > limit:
        raise _too_much(response.url, limit)
    unpack = _unpacker(response)
    received, taken = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        taken += len(chunk)
        if taken > limit:
            raise _too_much(response.url, limit)
        if unpack is None:
            received += chunk
            continue
        try:
            received += unpack.decompress(chunk, limit + 1 - len(received))
        except zlib.error:
            raise NoAnswer(f"{_shown(response.url)} answered something that cannot be unpacked") from None
        if len(received) > limit or unpack.unconsumed_tail:
            raise _too_much(response.url, limit)
    if unpack is not None and taken and not unpack.eof:
        raise NoAnswer(f"{_shown(response.url)} broke off in the middle of its answer")
    return bytes(received)


def _unpacker(response: aiohttp.ClientResponse) -> Any:
    """For servers that pack though they were asked not to. Raises NoAnswer for forms other than gzip and deflate."""
    coding = response.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding in {"", "identity"}:
        return None
    if coding not in {"gzip", "x-gzip", "deflate"}:
        raise NoAnswer(f"{_shown(response.url)} answered in a coding that was not asked for")
    return zlib.decompressobj(zlib.MAX_WBITS | 32)


def _too_much(url: URL, limit: int) -> NoAnswer:
    return NoAnswer(f"{_shown(url)} answered more than {limit} bytes")


def _shown(url: URL) -> str:
    """Without the query, which may hold secrets."""
    return str(url.with_query(None).with_fragment(None).with_user(None))
