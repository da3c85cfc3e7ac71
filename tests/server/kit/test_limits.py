"""The rate limit."""

from __future__ import annotations

from server.kit.limits import Limiter, address_key


def test_a_burst_then_one_an_interval() -> None:
    moment = 100.0
    limiter = Limiter(3, 10.0, clock=lambda: moment)
    assert [limiter.take("a").remaining for _ in range(3)] == [2, 1, 0]
    refused = limiter.take("a")
    assert (refused.allowed, refused.retry_after) == (False, 10.0)
    assert limiter.take("b").allowed
    moment += 9.0
    assert limiter.take("a").retry_after == 1.0
    moment += 1.0
    assert limiter.take("a").allowed
    assert not limiter.take("a").allowed
    moment += 1000.0
    assert [limiter.take("a").allowed for _ in range(4)] == [True, True, True, False]


def test_the_keys_are_bounded() -> None:
    limiter = Limiter(1, 1000.0, max_keys=100)
    for number in range(1000):
        limiter.take(str(number))
    assert len(limiter) == 100
    assert not limiter.take("999").allowed


def test_addresses_of_one_network_count_as_one() -> None:
    assert address_key("192.0.2.1") == "192.0.2.1"
    assert address_key("::ffff:192.0.2.1") == "192.0.2.1"
    assert address_key("2001:db8:1:2::5") == address_key("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert address_key("2001:db8:1:3::5") != address_key("2001:db8:1:2::5")
    assert address_key("") == ""
