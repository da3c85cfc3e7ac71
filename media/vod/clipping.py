"""Cuts carried out: the edges in one child, and the list of what is to be copied.

What the child reads (the segments at the edges and their init segments) is put into one file of the folder first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from media.vod.cut import CutPlan, Read, StripPlan
from media.vod.cutting import CutRequest, CutResult, EdgeRequest, Part, TrackRequest
from media.vod.options import Limits
from media.vod.stretches import Stretch
from media.vod.work import Progress, run

EDGES = ".edges"


@dataclass(frozen=True, slots=True)
class Cut:
    """stretches: one for each plan. copies: key of an object of the source and the name that it has in the set. files:
    names of those that were made, in the folder. encoded: pictures that were encoded anew; passed: samples in segments
    that had to be made, which were not."""

    stretches: tuple[Stretch, ...]
    copies: tuple[tuple[str, str], ...]
    files: tuple[str, ...]
    encoded: int
    passed: int


async def carry_out(
    plans: Sequence[CutPlan],
    folder: Path,
    read: Read,
    progress: Progress | None = None,
    limits: Limits | None = None,
    *,
    preset: str = "veryfast",
) -> Cut:
    """Raises BadSource, EngineFailed, and what `read` does."""
    limits = limits or Limits()
    firsts = _firsts(plans)
    tracks: list[TrackRequest] = []
    copies: list[tuple[str, str]] = []
    file = await asyncio.to_thread(_File, folder / EDGES)
    try:
        for place, (plan, first) in enumerate(zip(plans, firsts, strict=True)):
            for strip_plan in plan.strips:
                strip = strip_plan.strip
                copies += [(p.key, f"{strip.letter}-{first + n}.m4s") for n, p in strip_plan.copies]
                init = f"{strip.letter}-init-{place}.mp4"
                if not strip_plan.edges:
                    copies.append((strip.init, init))
                    continue
                tracks.append(await _track(strip_plan, first, init, file, read))
    finally:
        await asyncio.to_thread(file.close)
    result = await _made(file.path, folder, tracks, progress, limits, preset) if tracks else CutResult({}, 0, 0)
    stretches = []
    for place, (plan, first) in enumerate(zip(plans, firsts, strict=True)):
        made = []
        for strip_plan in plan.strips:
            letter = strip_plan.strip.letter
            sizes = {e.number: result.sizes[f"{letter}-{first + e.number}.m4s"] for e in strip_plan.edges}
            made.append(strip_plan.made(first, f"{letter}-init-{place}.mp4", sizes))
        seconds = tuple(segment.duration / made[0].scale for segment in made[0].segments)
        stretches.append(Stretch(plan.zero, first, seconds, tuple(made)))
    return Cut(tuple(stretches), tuple(copies), tuple(result.sizes), result.encoded, result.passed)


async def _made(
    source: Path, folder: Path, tracks: list[TrackRequest], progress: Progress | None, limits: Limits, preset: str
) -> CutResult:
    names = {edge.name for track in tracks for edge in track.edges} | {track.init_name for track in tracks}
    answer = await run(
        "media.vod.cutting",
        source,
        msgspec.msgpack.encode(CutRequest(preset, tracks)),
        limits,
        seconds=limits.work_seconds,
        folder=folder,
        may_write=names.__contains__,
        progress=progress,
    )
    await asyncio.to_thread(source.unlink)
    return msgspec.msgpack.decode(answer, type=CutResult)


async def _track(plan: StripPlan, first: int, init: str, file: _File, read: Read) -> TrackRequest:
    strip = plan.strip
    edges = []
    for edge in plan.edges:
        number = first + edge.number
        parts = [await file.put(key, read) for key in edge.pieces]
        edges.append(EdgeRequest(f"{strip.letter}-{number}.m4s", number, parts, edge.start, edge.end, edge.delay))
    head = await file.put(strip.init, read)
    return TrackRequest(head, init, strip.width > 0, strip.scale, strip.frame_rate, edges)


def _firsts(plans: Sequence[CutPlan]) -> list[int]:
    """Segments are numbered through all plans."""
    firsts, at = [], 0
    for plan in plans:
        firsts.append(at)
        at += max(len(strip.edges) + len(strip.copies) for strip in plan.strips)
    return firsts


class _File:
    """Objects one after the other, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = path.open("wb")
        self._parts: dict[str, Part] = {}

    async def put(self, key: str, read: Read) -> Part:
        part = self._parts.get(key)
        if part is None:
            data = await read(key)
            part = self._parts[key] = Part(self._handle.tell(), len(data))
            await asyncio.to_thread(self._handle.write, data)
        return part

    def close(self) -> None:
        self._handle.close()
