"""Whom an address stands for."""

from __future__ import annotations

import ipaddress


def address_key(address: str) -> str:
    """One key a household: IPv6 clients own a network of 64 bits, so that counts as one address."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
