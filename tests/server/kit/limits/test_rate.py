"""How rates are written, and whom an address stands for."""

from __future__ import annotations

import pytest
from limits import parse

from server.kit.limits import Rate, address_key


@pytest.mark.parametrize(
    "text", ["600/minute", "5/10seconds", "5 per 10 seconds", "1 per day", "20/2hours", "7/MINUTE"]
)
def test_a_rate_is_written_as_in_the_package_limits(text: str) -> None:
    rate, item = Rate.parse(text), parse(text)
    assert (rate.amount, rate.seconds) == (item.amount, item.get_expiry())


@pytest.mark.parametrize(
    "text", ["", "600", "/minute", "0/minute", "5/0seconds", "-1/minute", "5/fortnight", "5/", "1e3/day"]
)
def test_what_is_no_rate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate such as 600/minute"):
        Rate.parse(text)


def test_a_rate_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="no rate"):
        Rate(0, 60)


def test_the_interval_is_whole_microseconds() -> None:
    assert (Rate(600, 60).interval, Rate(600, 60).window) == (100_000, 60_000_000)
    assert (Rate(7, 60).interval, Rate(7, 60).window) == (8_571_429, 60_000_003)


def test_addresses_of_one_network_count_as_one() -> None:
    assert address_key("192.0.2.1") == "192.0.2.1"
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("2001:db8:1:2::5") == address_key("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert address_key("2001:db8:1:3::5") != address_key("2001:db8:1:2::5")
    assert address_key("2001:DB8:1:2:0:0:0:5") == "2001:db8:1:2::/64"
    assert address_key("fe80::1%eth0") == "fe80::/64"
    assert [address_key(odd) for odd in ("", "a:b", "::\x00", "unix:")] == ["", "a:b", "::\x00", "unix:"]
