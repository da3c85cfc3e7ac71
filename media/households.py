"""What counts as one address when limits are counted by address."""

from __future__ import annotations

import ipaddress


def household(address: str) -> str:
    """The address itself; for IPv6 the /64 that one customer has."""
    if ":" not in address or address.startswith("::ffff:"):
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
