"""Which pieces of work a plan comes to, in the order in which they are to be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from media.vod.plan import Plan
from server.streaming.videos.work_store import FIRST, PICTURE, SOUND, STILLS, Piece

PASSED_COST = 0.02
SOUND_COST = 0.05
STILLS_COST = 0.1
"""Beside a second of picture of a million pixels that is encoded."""


def pieces_of(plan: Plan) -> list[Piece]:
    """The first chunk in the lowest rung is a piece of its own: with the sound it makes the video playable."""
    pieces: list[Piece] = []
    names = [rung.name for rung in plan.rungs]
    for chunk in plan.chunks:
        rest = names
        if chunk.number == 0:
            pieces.append(Piece(FIRST, PICTURE, 0, names[:1], _cost(plan, chunk.seconds, names[:1])))
            if plan.audio is not None:
                pieces.append(_sound(plan))
            pieces.append(Piece(STILLS, STILLS, 0, [], max(plan.seconds * STILLS_COST, 0.1)))
            rest = names[1:]
        if rest:
            name = f"chunk-{chunk.number}"
            pieces.append(Piece(name, PICTURE, chunk.number, rest, _cost(plan, chunk.seconds, rest)))
    if not plan.chunks and plan.audio is not None:
        pieces.append(_sound(plan))
    return pieces


def _sound(plan: Plan) -> Piece:
    return Piece(SOUND, SOUND, 0, [], max(plan.seconds * SOUND_COST, 0.1))


def _cost(plan: Plan, seconds: float, names: Sequence[str]) -> float:
    rungs = [plan.rung(name) for name in names]
    pixels = sum(rung.width * rung.height for rung in rungs if not rung.passed) / 1e6
    return max(seconds * (pixels + PASSED_COST), 0.1)
