"""Which rungs a live ladder has: what the setting asks for, what the cores carry, what is below the source. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from media.vod.options import LADDER, Rung

NEAR = 1.03
"""A source that lacks up to 3 % of a rung's height is that rung already."""
FAST, FASTER = 40.0, 1.5
"""Above so many frames per second a rung may have so many times its bit rate."""
BELOW_SOURCE = 0.8
"""A rung is offered with at most this share of what the source takes."""
LEAST_RATE = 100_000
HIGHEST = 1080
"""No rung above it is made live, whatever is asked for: one core does not encode it in time."""
BY_CORES = ((8, (1080, 720, 480, 360, 240)), (4, (720, 480, 360, 240)), (2, (480, 240)), (1, (240,)))
"""What `auto` is, by cores (docs/operators.md has the figures): at least half of the machine is left to the rest."""
LEVELS = (
    (1_620, 40_500, 30), (3_600, 108_000, 31), (5_120, 216_000, 32), (8_192, 245_760, 40), (8_704, 522_240, 42),
)  # fmt: skip
"""H.264, table A-1: macroblocks of a picture, of a second, and the level."""


class Step(NamedTuple):
    """A rung of one source: its size in pixels, and its peak bit rate in bit/s."""

    name: str
    width: int
    height: int
    rate: int


def parse_ladder(text: str, cores: int) -> tuple[Rung, ...]:
    """LIVE_LADDER: `off`, `auto`, or heights with commas. From high to low. Raises ValueError with what to write."""
    words = text.strip().lower()
    if words in ("", "off"):
        return ()
    if words == "auto":
        heights: Sequence[int] = next((found for least, found in BY_CORES if cores >= least), ())
    else:
        known = {f"{rung.height}{p}": rung.height for rung in LADDER if rung.height <= HIGHEST for p in ("", "p")}
        parts = [part.strip() for part in words.split(",")]
        if unknown := [part for part in parts if part not in known]:
            names = ", ".join(str(rung.height) for rung in LADDER if rung.height <= HIGHEST)
            raise ValueError(f"{unknown[0]!r} is no rung: off, auto, or of {names}, with commas between them")
        heights = [known[part] for part in parts]
    return tuple(rung for rung in reversed(LADDER) if rung.height in heights)


def lines(width: int, height: int) -> float:
    """The height of the 16:9 box that the picture fills, lying or upright: 720 for 1280x720, 720x1280 and 1280x534."""
    short, long = sorted((width, height))
    return max(short, long * 9 / 16)


def steps_of(ladder: Sequence[Rung], width: int, height: int, frame_rate: float) -> list[Step]:
    """The rungs that are smaller than this source, from high to low, each in the source's shape."""
    found: list[Step] = []
    full = lines(width, height)
    for rung in ladder:
        if rung.height * NEAR >= full:
            continue
        factor = rung.height / full
        wide, high = (max(16, round(side * factor / 2) * 2) for side in (width, height))
        rate = rung.bit_rate * (FASTER if frame_rate > FAST else 1.0)
        found.append(Step(rung.name, wide, high, round(rate)))
    return found


def expected(step: Step, source_rate: float) -> int:
    """What the rung will take at most, bit/s, next to a source that takes so much (0: not known yet)."""
    most = source_rate * BELOW_SOURCE if source_rate > 0 else step.rate
    return round(max(LEAST_RATE, min(step.rate, most)))


def level_of(width: int, height: int, frame_rate: float) -> int:
    """H.264 level times ten. It is fixed by size and frame rate, so that an encoder that is begun again, with another
    bit rate too, has the parameter sets that it had."""
    blocks = -(-width // 16) * -(-height // 16)
    a_second = blocks * (60 if frame_rate > FAST else 30)
    return next((level for most, each_second, level in LEVELS if blocks <= most and a_second <= each_second), 52)
