"""Classes of routes: how often each kind of caller may call, how large a body may be and how long it may take.

A route names its class (`limits=`); reading and writing are what it is otherwise. Everything of a class is a setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server.kit.auth import FREE
from server.kit.limits import Rate
from server.settings import SettingError, Settings

ANONYMOUS = "anonymous"
"""Stands among the tiers for an address whose requests carry no token: many people may share it."""
TIERS = (ANONYMOUS, FREE, "basic", "pro", "enterprise")
OFF = "off"
NONE = "none"
UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Allowance:
    """A rate, and how RateLimit-Policy tells it."""

    rate: Rate
    policy: str


@dataclass(frozen=True, slots=True)
class RouteClass:
    """allowances: by tier; None: no limit. max_body: bytes. body_timeout: until the last byte of a body, s."""

    name: str
    allowances: Mapping[str, Allowance | None]
    max_body: int
    body_timeout: float


def route_classes(settings: Settings) -> dict[str, RouteClass]:
    """By name. Raises SettingError for rates that cannot be.

    `read`, `write`: what routes are by themselves. `auth`: whatever tries a password, a code, or sends a mail.
    `refresh`: what presents a token of ours that cannot be guessed. `upload`: bodies that are files. `none`: no limit.
    """
    plain = (settings.max_body, settings.body_timeout)
    auth = (settings.max_body_auth, settings.body_timeout_auth)
    upload = (settings.max_body_upload, settings.body_timeout_upload)
    made = {
        name: RouteClass(name, _allowances(name, getattr(settings, f"rate_limit_{name}")), *body)
        for name, body in (("read", plain), ("write", plain), ("auth", auth), ("refresh", auth), ("upload", upload))
    }
    made[NONE] = RouteClass(NONE, dict.fromkeys(TIERS), *plain)
    return made


def _allowances(name: str, text: str) -> dict[str, Allowance | None]:
    default = getattr(Settings(), f"rate_limit_{name}")
    try:
        rates = parse_rates(default) | parse_rates(text)
    except ValueError as error:
        raise SettingError(f"RATE_LIMIT_{name.upper()}: {error}") from None
    return {
        tier: None if rate is None else Allowance(rate, f'"{name}";q={rate.amount};w={round(rate.seconds)}')
        for tier, rate in rates.items()
    }


def parse_numbers(text: str) -> dict[str, int]:
    """`free=2000, pro=5000`, or one number for all tiers. Raises ValueError."""
    numbers: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        tier, equals, number = (word.strip() for word in part.rpartition("="))
        if equals and tier not in TIERS:
            raise ValueError(f"{tier!r} is no tier; there are {', '.join(TIERS)}")
        if not (number.isascii() and number.isdigit()):
            raise ValueError(f"{number!r} is no number; write it as free=2000")
        numbers.update(dict.fromkeys([tier] if equals else TIERS, int(number)))
    return numbers


def parse_rates(text: str) -> dict[str, Rate | None]:
    """`free=600/minute, pro=off`, or one rate for all tiers. Tiers that are left out are left out of the answer. Raises
    ValueError."""
    rates: dict[str, Rate | None] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        tier, equals, rate = (word.strip() for word in part.rpartition("="))
        if equals and tier not in TIERS:
            raise ValueError(f"{tier!r} is no tier; there are {', '.join(TIERS)}")
        parsed = None if rate.lower() == OFF else Rate.parse(rate)
        rates.update(dict.fromkeys([tier] if equals else TIERS, parsed))
    return rates
