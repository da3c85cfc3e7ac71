"""Whom an address stands for."""

from __future__ import annotations

import socket

_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 written as IPv6


def address_key(address: str) -> str:
    """One key a household: IPv6 clients own a network of 64 bits, so that counts as one address."""
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        return address
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"
