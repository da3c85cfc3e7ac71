"""Where a client reaches us: the addresses that answers carry.

With PUBLIC_URL set they are made from it. Without, from the host the client itself used, so that a phone in the same
network is told the address it can reach and not localhost; it is taken only when it is a host and nothing more, because
it ends up in links.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import urlsplit

from aiohttp import web

from server.kit.problems import BadRequest
from server.settings import SettingError
from server.streaming.channels.models import Ingest

RTMP_APP = "live"
WHIP_PATH = "/api/v1/live/whip"
# RFC 9110 section 7.2, as clients write it; underscores are in names of containers
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]{0,252}|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """http: scheme and host without a trailing slash; rtmp, rtmps: server URLs as encoders take them, None when off."""

    http: str
    rtmp: str | None
    rtmps: str | None

    def ingest(self, key: str | None) -> Ingest:
        """Where to push; with the key in it only when it is known."""
        tail = f"/{key}" if key else ""
        server = self.rtmp or self.rtmps or ""
        return Ingest(
            rtmp=server + tail,
            rtmp_server=server,
            whip=self.http + WHIP_PATH,
            rtmps=self.rtmps + tail if self.rtmps else None,
        )


class Addresses:
    """rtmps_port: None when no certificate is configured; rtmp_port 0: plain RTMP is off.

    secure: whether browsers come by TLS, as far as the public address says. Raises SettingError.
    """

    def __init__(self, public_url: str, rtmp_port: int, rtmps_port: int | None) -> None:
        self._public = public_url.rstrip("/")
        self.secure = self._public.lower().startswith("https://")
        try:
            good = not self._public or bool(urlsplit(self._public).hostname)
        except ValueError:
            good = False
        if not good:
            raise SettingError(f"PUBLIC_URL is {public_url!r}; it takes an address as https://live.example.org")
        self._rtmp_port = rtmp_port
        self._rtmps_port = rtmps_port

    def seen_from(self, request: web.Request) -> Address:
        """Raises BadRequest when there is no PUBLIC_URL and the request names no host."""
        return self.at(self._public or f"{request.scheme}://{_host(request)}")

    def at(self, http: str) -> Address:
        host = urlsplit(http).hostname or "localhost"
        if ":" in host:
            host = f"[{host}]"
        return Address(
            http=http,
            rtmp=_url("rtmp", host, self._rtmp_port, 1935) if self._rtmp_port else None,
            rtmps=_url("rtmps", host, self._rtmps_port, 443) if self._rtmps_port else None,
        )


def _host(request: web.Request) -> str:
    hosts = request.headers.getall("Host", ())
    if len(hosts) == 1 and (found := _HOST.fullmatch(hosts[0])) is not None:
        version6, port = found.groups()
        try:
            if version6:
                IPv6Address(version6)
        except AddressValueError:
            pass
        else:
            if not port or 0 < int(port) < 65536:
                return hosts[0]
    raise BadRequest("Send one header Host with the name or address of this server, and a port where it needs one.")


def _url(scheme: str, host: str, port: int, default: int) -> str:
    return f"{scheme}://{host}{'' if port == default else f':{port}'}/{RTMP_APP}"
