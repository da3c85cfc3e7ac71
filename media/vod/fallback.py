"""A chunk by an encoder in hardware where one works, else and when that fails in software. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from media.transcode.hardware import Hardware
from media.vod import engine
from media.vod.errors import EngineFailed
from media.vod.options import Limits
from media.vod.plan import Plan
from media.vod.results import ChunkResult
from media.vod.work import Progress


async def encode_chunk(
    hardware: Hardware,
    source: Path,
    plan: Plan,
    number: int,
    rungs: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> ChunkResult:
    """As engine.encode_chunk. A plan that does not expect several encoders is for software alone."""
    family = await hardware.family(plan.options.codec) if plan.options.mixed else ""
    if family and any(not plan.rung(name).passed for name in rungs):
        try:
            made = await engine.encode_chunk(source, plan, number, rungs, folder, progress, limits, family)
        except EngineFailed:
            hardware.failed(family)  # what it wrote is written over
        else:
            hardware.succeeded()
            return made
    return await engine.encode_chunk(source, plan, number, rungs, folder, progress, limits)
