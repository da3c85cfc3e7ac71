"""Where the port can be reached: PUBLIC_IP, or else the addresses of the machine."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable

import ifaddr

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST_PREFERENCE = 126
"""RFC 8445, 5.1.2.2: the type preference of host candidates."""


def public_addresses(setting: str) -> list[IpAddress]:
    """PUBLIC_IP: addresses, comma-separated. Raises ValueError with a sentence for the operator."""
    found: list[IpAddress] = []
    for word in filter(None, map(str.strip, setting.split(","))):
        try:
            address = ipaddress.ip_address(word)
        except ValueError:
            raise ValueError(
                f"PUBLIC_IP: {word!r} is not an address. Browsers are told addresses: write what the name stands for"
            ) from None
        if address.is_unspecified or address.is_multicast:
            raise ValueError(f"PUBLIC_IP: {word} is not an address that a browser can send to")
        if address not in found:
            found.append(address)
    return found


def machine_addresses() -> list[IpAddress]:
    """Of the interfaces that are up; without link-local ones, which mean nothing without the name of a link here."""
    found: list[IpAddress] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            # IPv6 comes with flow and scope
            address = ipaddress.ip_address(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
            if not address.is_link_local and address not in found:
                found.append(address)
    return found


def announced(public: str, host: str, machine: Callable[[], Iterable[IpAddress]]) -> list[IpAddress]:
    """What to tell browsers. host: RTC_HOST, "" or an unspecified address when the port listens on all.

    Loopback is told with the others (but for PUBLIC_IP, which says it all): a browser on the same machine may have no
    other way, and one elsewhere soon gives up on it. Raises ValueError with a sentence for the operator.
    """
    if chosen := public_addresses(public):
        return chosen
    try:
        listening = ipaddress.ip_address(host.partition("%")[0]) if host else None
    except ValueError:
        raise ValueError(f"RTC_HOST: {host!r} is not an address of this machine; leave it empty for all") from None
    if listening is not None and not listening.is_unspecified:
        return [listening]
    every = list(machine())
    if listening is not None and listening.version == 4:
        every = [address for address in every if address.version == 4]
    return sorted(every, key=lambda address: (address.is_loopback, address.version, address))


def candidates(addresses: Iterable[IpAddress], port: int) -> list[str]:
    """Lines for SDP (RFC 8839, 5.1), the first address preferred."""
    lines = []
    for place, address in enumerate(addresses):
        priority = (_HOST_PREFERENCE << 24) | ((65535 - place) << 8) | 255
        lines.append(f"a=candidate:{place + 1} 1 udp {priority} {address} {port} typ host")
    return lines
