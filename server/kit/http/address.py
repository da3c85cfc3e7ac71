"""The address of the client behind proxies that are trusted, and of none that are not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web

from server.settings import SettingError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Reads X-Forwarded-For from the right, past trusted proxies, and stops at the first address that is not one."""

    def __init__(self, trusted_proxies: str) -> None:
        """trusted_proxies: addresses or networks, comma-separated. Raises SettingError."""
        parts = (part.strip() for part in trusted_proxies.split(","))
        self._networks: Sequence[Network] = [_network(part) for part in parts if part]

    def of(self, request: web.BaseRequest) -> str:
        """The client's IP address, without a zone or port; empty when it has none (a Unix socket)."""
        peer = request.remote or ""
        if not self._networks or not self._trusted(peer):
            return peer
        client = peer
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(",")):
            try:
                client = str(ipaddress.ip_address(_bare(hop.strip())))
            except ValueError:
                break
            if not self._trusted(client):
                break
        return client

    def _trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise SettingError(f"TRUSTED_PROXIES has {text!r}; it takes addresses and networks as 10.0.0.0/8") from None


def _bare(hop: str) -> str:
    """Some proxies add a port: 192.0.2.1:443, [2001:db8::1]:443."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
