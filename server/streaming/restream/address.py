"""The address of a target, taken apart and checked as far as it can be without asking anybody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from server.kit.reachable import refused_host

PORTS = {"rtmp": 1935, "rtmps": 443}
MOST_APP = 200
_ODD = re.compile(r"[^\x21-\x7e]|[\\\"<>]")


class BadAddress(Exception):
    """The text is for who typed it."""


class Reach(Protocol):
    def port_known(self, port: int) -> bool: ...

    def refusal(self, address: str, port: int) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """app: the path without the slashes around it."""

    secure: bool
    host: str
    port: int
    app: str

    @property
    def url(self) -> str:
        scheme = "rtmps" if self.secure else "rtmp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[scheme] else f":{self.port}"
        return f"{scheme}://{host}{port}/{self.app}"


def parse(text: str, reach: Reach | None = None) -> Address:
    """reach: which addresses and ports may be; None for what was checked before. Raises BadAddress."""
    text = text.strip()
    if _ODD.search(text):
        raise BadAddress("it has spaces or characters that no address has; write names in their xn-- form")
    try:
        split = urlsplit(text)
        host, port = split.hostname or "", split.port
    except ValueError:
        raise BadAddress("this is no address: it begins with rtmp:// or rtmps://, then host and path") from None
    if split.scheme not in PORTS:
        raise BadAddress("it has to begin with rtmp:// or rtmps://")
    if split.username is not None or split.password is not None:
        raise BadAddress("it has a user name or a password in it; only stream keys are used, in their own field")
    if split.query or split.fragment or "?" in text or "#" in text:
        raise BadAddress("it has a ? or # in it: what follows belongs into the stream key")
    if (why := refused_host(host)) is not None:
        raise BadAddress(why)
    app = split.path.strip("/")
    if not app:
        raise BadAddress("it has no path: most services have one, as rtmp://HOST/live")
    if len(app) > MOST_APP:
        raise BadAddress(f"its path is longer than {MOST_APP} characters")
    address = Address(split.scheme == "rtmps", host, PORTS[split.scheme] if port is None else port, app)
    if reach is not None:
        _check(address, reach)
    return address


def _check(address: Address, reach: Reach) -> None:
    if not reach.port_known(address.port):
        raise BadAddress(f"port {address.port} is not one that this server pushes to")
    literal = ":" in address.host or address.host.rpartition(".")[2].isdecimal()
    if literal and (why := reach.refusal(address.host, address.port)) is not None:
        raise BadAddress(f"this server does not push there: {why}")
