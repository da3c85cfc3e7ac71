"""How long messages are gathered, by the kind of the channel, as operators write it."""

from __future__ import annotations

import math


def ticks(text: str) -> dict[str, float]:
    """`kind=ms,…` as HubOptions.ticks has it. Raises ValueError."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, given, milliseconds = part.partition("=")
        try:
            tick = float(milliseconds) / 1000 if given else math.nan
        except ValueError:
            tick = math.nan
        if not kind or not 0 <= tick <= 1:
            raise ValueError(f"{part!r} is not kind=ms, from 0 to 1000 ms")
        found[kind.strip()] = tick
    return found
