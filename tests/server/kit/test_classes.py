"""How the settings of rate limits are written."""

from __future__ import annotations

import pytest

from server.kit.http.classes import TIERS, parse_rates, route_classes
from server.kit.limits import Rate
from server.settings import SettingError, Settings


def test_a_rate_a_tier_or_one_for_all() -> None:
    assert parse_rates("free=600/minute, pro = 5 per 10 seconds,enterprise=off") == {
        "free": Rate(600, 60),
        "pro": Rate(5, 10),
        "enterprise": None,
    }
    assert parse_rates("3/hour") == dict.fromkeys(TIERS, Rate(3, 3600))
    assert parse_rates("3/hour, pro=off") == {**dict.fromkeys(TIERS, Rate(3, 3600)), "pro": None}
    assert parse_rates("OFF") == dict.fromkeys(TIERS)
    assert parse_rates("") == {}


def test_what_is_left_out_is_as_by_default() -> None:
    given, default = (route_classes(settings) for settings in (Settings(rate_limit_read="free=1/day"), Settings()))
    free = given["read"].allowances["free"]
    assert free is not None
    assert (free.rate, free.policy) == (Rate(1, 86400), '"read";q=1;w=86400')
    assert {**given["read"].allowances, "free": None} == {**default["read"].allowances, "free": None}
    assert given["write"] == default["write"]


@pytest.mark.parametrize("name", ["read", "write", "auth", "refresh", "upload"])
def test_defaults_name_every_tier_and_let_more_through_the_more_is_paid(name: str) -> None:
    allowances = route_classes(Settings())[name].allowances
    assert set(allowances) == set(TIERS)
    amounts = [allowance.rate.amount for tier in TIERS[1:] if (allowance := allowances[tier]) is not None]
    assert amounts == sorted(amounts)
    assert len(amounts) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gold=5/minute", "'gold' is no tier; there are anonymous, free, basic, pro, enterprise"),
        ("free=lots", "'lots' is no rate such as 600/minute"),
        ("free=5/minute; pro=6/minute", "'free=5/minute; pro' is no tier"),
        ("free=", "'' is no rate"),
        ("0/minute", "'0/minute' is no rate"),
    ],
)
def test_what_cannot_be_names_the_setting(text: str, told: str) -> None:
    with pytest.raises(SettingError, match="RATE_LIMIT_UPLOAD: ") as error:
        route_classes(Settings(rate_limit_upload=text))
    assert told in str(error.value)
