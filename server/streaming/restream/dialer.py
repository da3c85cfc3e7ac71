"""Connections to targets: only to addresses of the public Internet, checked at the moment of connecting.

The name is resolved anew for each attempt, all its addresses are checked, and the connection goes to one of those and
nowhere else: a name that changes its mind gains nothing. TLS verifies the certificate for the name of the target.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Protocol

from media.egress.restream import Failed
from server.kit.outgoing import NoAnswer, Refused
from server.streaming.restream.address import Address

log = logging.getLogger(__name__)

MOST_ADDRESSES = 4
KEEPALIVE = ((socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))


class Resolver(Protocol):
    async def addresses(self, host: str, port: int) -> list[str]:
        """Checked ones. Raises Refused, NoAnswer."""
        ...


class Dialer:
    """seconds: for all addresses of a target together. tls: whom to trust; None: the system's authorities, read when
    they are first needed."""

    def __init__(self, resolver: Resolver, seconds: float, tls: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._tls = tls

    async def open(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises Failed, OSError, TimeoutError."""
        try:
            found = await self._resolver.addresses(address.host, address.port)
        except Refused as refused:
            # what the name stands for is not told: it may be a name of our own network
            log.warning("a target was not called: %s", refused)
            raise Failed("this server does not push to the address that the host stands for", for_good=True) from None
        except NoAnswer:
            raise Failed("the target's host has no address: is it spelled right?") from None
        tls = await self._context() if address.secure else None
        found = found[:MOST_ADDRESSES]
        for number, where in enumerate(found, 1):
            try:
                async with asyncio.timeout(self._seconds / len(found)):
                    reader, writer = await asyncio.open_connection(
                        where, address.port, ssl=tls, server_hostname=address.host if tls else None
                    )
            except (OSError, TimeoutError):
                if number == len(found):
                    raise
            else:
                _watch(writer)
                return reader, writer
        raise Failed("the target's host has no address: is it spelled right?")

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            context = await asyncio.to_thread(ssl.create_default_context)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._tls = context
        return self._tls


def _watch(writer: asyncio.StreamWriter) -> None:
    """A peer that vanished is noticed though nothing is sent."""
    sock = writer.get_extra_info("socket")
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, value in KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
