"""Which addresses of the Internet this server calls on behalf of others: those of the public Internet, on few ports.

Everything with a special meaning is refused (IANA's registries of special-purpose addresses, RFC 6890): this machine,
private and link-local networks, carriers' networks, multicast, and IPv6 forms that stand for an IPv4 address or are
carried through one (mapped, NAT64, 6to4, Teredo). The operator may allow single addresses and networks.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from server.settings import SettingError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REFUSED = {
    ipaddress.ip_network(network): what
    for network, what in {
        "0.0.0.0/8": "unspecified",
        "10.0.0.0/8": "private",
        "100.64.0.0/10": "a carrier's network",
        "127.0.0.0/8": "loopback",
        "168.63.129.16/32": "a cloud's metadata",  # Azure's, though it is a public address
        "169.254.0.0/16": "link-local or a cloud's metadata",
        "172.16.0.0/12": "private",
        "192.0.0.0/24": "reserved",
        "192.0.2.0/24": "for documentation",
        "192.88.99.0/24": "a 6to4 relay",
        "192.168.0.0/16": "private",
        "198.18.0.0/15": "for benchmarks",
        "198.51.100.0/24": "for documentation",
        "203.0.113.0/24": "for documentation",
        "224.0.0.0/4": "multicast",
        "240.0.0.0/4": "reserved",
        "2001::/23": "reserved or Teredo",
        "2001:db8::/32": "for documentation",
        "2002::/16": "6to4",
        "3fff::/20": "for documentation",
    }.items()
}
_UNICAST_6 = ipaddress.IPv6Network("2000::/3")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_WITH_PORT = re.compile(r"(?:\[([^]]+)\]|([0-9.]+)):([0-9]+)")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """port: 0 for every port that is known."""

    network: Network
    port: int


class Reachable:
    def __init__(self, ports: str = "80,443", allowed: str = "", *, setting: str = "OUTGOING_PORTS") -> None:
        """ports: comma-separated; setting: where they stand. allowed: comma-separated networks and addresses, or
        address:port ([…]:port for IPv6).

        Raises SettingError.
        """
        self._ports = frozenset(_port(part, setting) for part in _parts(ports))
        self._allowances = [_allowance(part) for part in _parts(allowed)]

    def port_known(self, port: int) -> bool:
        """Whether some address may be called on it."""
        return port in self._ports or any(each.port == port for each in self._allowances)

    def refusal(self, address: str, port: int) -> str | None:
        """Why this address must not be connected to; None when it may be."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return f"{address} is no address"
        for each in self._allowances:
            if parsed in each.network and (port == each.port if each.port else port in self._ports):
                return None
        if (what := _special(parsed)) is not None:
            return f"{address} is {what}"
        return None if port in self._ports else f"port {port} is not allowed"


def refused_host(host: str) -> str | None:
    """Why no request goes to a host that is written like this; None when its addresses decide."""
    if not host:
        return "the URL has no host"
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            return "the host is no address"
        return "the address has a zone" if "%" in host else None
    if _NAME.fullmatch(host.lower()) is None:
        return "the host is no name"
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        # A name that ends in a number is an IPv4 address (WHATWG URL, section 3.5); only its plain form is taken here.
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            return "the host is an address in an unusual form"
    return None


def _special(address: Address) -> str | None:
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST_6:
        if address.ipv4_mapped is not None:
            return "an IPv4 address inside an IPv6 one"
        if address.is_loopback:
            return "loopback"
        return "not of the public Internet"
    for network, what in _REFUSED.items():
        if address in network:
            return what
    return None if address.is_global else "not of the public Internet"


def _allowance(text: str) -> Allowance:
    network, port = text, 0
    if (bracketed := re.fullmatch(r"\[(.+)\]:([0-9]+)", text)) or (
        bracketed := re.fullmatch(r"([0-9.]+):([0-9]+)", text)
    ):
        network, port = bracketed.group(1), _port(bracketed.group(2), "OUTGOING_ALLOWED")
    try:
        return Allowance(ipaddress.ip_network(network), port)
    except ValueError:
        raise SettingError(
            f"OUTGOING_ALLOWED has {text!r}; it takes networks such as 10.1.0.0/16 and addresses such as 10.1.2.3:8443"
        ) from None


def _port(text: str, setting: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingError(f"{setting} has {text!r} for a port; a port is from 1 to 65535")
    return int(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
