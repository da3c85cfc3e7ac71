"""What browsers are told to send to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from media.rtc.addresses import announced, candidates, machine_addresses, public_addresses

MACHINE = [ip_address(text) for text in ("127.0.0.1", "2001:db8::1", "192.0.2.7", "::1")]


@pytest.mark.parametrize(
    ("public", "host", "expected"),
    [
        ("", "", ["192.0.2.7", "2001:db8::1", "127.0.0.1", "::1"]),
        ("", "0.0.0.0", ["192.0.2.7", "127.0.0.1"]),
        ("", "::", ["192.0.2.7", "2001:db8::1", "127.0.0.1", "::1"]),
        ("", "127.0.0.1", ["127.0.0.1"]),
        ("203.0.113.5", "", ["203.0.113.5"]),
        (" 203.0.113.5 , 2001:db8::5,203.0.113.5,", "0.0.0.0", ["203.0.113.5", "2001:db8::5"]),
    ],
)
def test_what_is_announced(public: str, host: str, expected: list[str]) -> None:
    assert [str(address) for address in announced(public, host, lambda: MACHINE)] == expected


@pytest.mark.parametrize(
    ("public", "host", "word"),
    [
        ("live.example.org", "", "PUBLIC_IP: 'live.example.org' is not an address"),
        ("203.0.113.5:8189", "", "PUBLIC_IP: '203.0.113.5:8189'"),
        ("0.0.0.0", "", "cannot|can send"),
        ("", "localhost", "RTC_HOST: 'localhost'"),
    ],
)
def test_what_cannot_be_announced_is_told(public: str, host: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        announced(public, host, lambda: MACHINE)


def test_candidates_are_lines_in_order_of_preference() -> None:
    lines = candidates(public_addresses("203.0.113.5,2001:db8::5"), 8189)
    assert lines == [
        "a=candidate:1 1 udp 2130706431 203.0.113.5 8189 typ host",
        "a=candidate:2 1 udp 2130706175 2001:db8::5 8189 typ host",
    ]


def test_a_machine_has_addresses() -> None:
    found = machine_addresses()
    assert found
    assert not any(address.is_link_local for address in found)
