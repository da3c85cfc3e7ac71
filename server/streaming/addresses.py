"""Where a client reaches us: the addresses that answers carry.

With PUBLIC_URL set they are made from it. Without, from the host the client itself used, so that a phone in the same
network is told the address it can reach and not localhost.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from server.streaming.channels.models import Ingest

RTMP_APP = "live"


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
        return Ingest(rtmp=server + tail, rtmp_server=server, rtmps=self.rtmps + tail if self.rtmps else None)


class Addresses:
    """rtmps_port: None when no certificate is configured; rtmp_port 0: plain RTMP is off."""

    def __init__(self, public_url: str, rtmp_port: int, rtmps_port: int | None) -> None:
        self._public = public_url.rstrip("/")
        self._rtmp_port = rtmp_port
        self._rtmps_port = rtmps_port

    def seen_from(self, request: web.Request) -> Address:
        return self.at(self._public or f"{request.scheme}://{request.host}")

    def at(self, http: str) -> Address:
        host = urlsplit(http).hostname or "localhost"
        if ":" in host:
            host = f"[{host}]"
        return Address(
            http=http,
            rtmp=_url("rtmp", host, self._rtmp_port, 1935) if self._rtmp_port else None,
            rtmps=_url("rtmps", host, self._rtmps_port, 443) if self._rtmps_port else None,
        )


def _url(scheme: str, host: str, port: int, default: int) -> str:
    return f"{scheme}://{host}{'' if port == default else f':{port}'}/{RTMP_APP}"
