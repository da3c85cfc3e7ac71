"""What a WebRTC port can be told, and what it and its peers tell others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket gives it: two parts for IPv4, four for IPv6."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcOptions:
    """Named like the settings. A port of 0 takes any free one."""

    rtc_host: str = ""
    rtc_port: int = 8189
    public_ip: str = ""
    rtc_max_peers: int = 2000
    rtc_socket_buffer: int = 8 * 1024 * 1024
    rtc_connect_timeout: float = 30.0
    rtc_consent_timeout: float = 30.0
    rtc_max_handshakes: int = 200
    rtc_bad_per_address: int = 50
    rtc_errors_per_second: int = 500
    rtc_paths_per_peer: int = 16
    rtc_sources_per_peer: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class IceDtlsParameters:
    """What one side tells the other in SDP. fingerprints: (algorithm, value) as ("sha-256", "AB:CD:…").

    setup, of RFC 8842: active (begins the DTLS handshake), passive, or actpass (the other may choose).
    """

    ufrag: str
    pwd: str
    fingerprints: tuple[tuple[str, str], ...]
    setup: str = "actpass"


class Handler(Protocol):
    """Who owns a peer. Called on the loop and never awaited; what raises ends the peer."""

    def on_connected(self) -> None: ...

    def on_rtp(self, packet: bytes, arrival: float) -> None:
        """arrival: by time.monotonic()."""

    def on_rtcp(self, packet: bytes) -> None: ...

    def on_closed(self, reason: str) -> None:
        """Once, however it ends, and after the call that ended it has returned. The reason is a sentence."""


class CannotServe(Exception):
    """No peer can be had now. `reason` is a sentence for the one who asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
