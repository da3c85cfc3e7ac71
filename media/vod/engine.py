"""The calls of the engine. Each runs a child of its own, and holds nothing when it returns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from media.vod.facts import SourceFacts
from media.vod.options import Limits
from media.vod.plan import ChunkRequest, Plan
from media.vod.results import AudioResult, ChunkResult, Pictures
from media.vod.work import Progress, run

PICTURES = re.compile(r"thumb-[0-9]{1,3}\.jpg|story\.vtt|story-[0-9]{1,3}\.jpg|preview\.webp")


async def probe(source: Path, limits: Limits | None = None) -> SourceFacts:
    """What is in this file, found out by reading all of it. Raises BadSource, EngineFailed."""
    limits = limits or Limits()
    answer = await run("media.vod.probe", source, b"", limits, seconds=limits.probe_seconds)
    return msgspec.msgpack.decode(answer, type=SourceFacts)


async def encode_chunk(
    source: Path,
    plan: Plan,
    number: int,
    rungs: Sequence[str],
    folder: Path,
    progress: Progress | None = None,
    limits: Limits | None = None,
    family: str = "",
) -> ChunkResult:
    """Encodes plan.chunks[number] in these rungs (names; all of them decoded once) into the folder.

    Writes the segments as the plan calls them and, each time the same, the init segments. To run twice is harmless.
    What cannot be decoded is shown as the picture before it, or black, and counted (`ChunkResult.lost`; see
    packaging.check_loss).
    family: of an encoder in hardware, "" for software. Options.mixed has to be set where both work on one video.
    Raises BadSource when the file cannot be opened, EngineFailed when the child died or was too slow, LookupError for a
    rung or chunk that is not in the plan.
    """
    limits = limits or Limits()
    chunk = plan.chunks[number]
    names = tuple(plan.rung(name).name for name in rungs)
    letters = [plan.letter(name) for name in names]
    numbers = range(chunk.first, chunk.first + chunk.count)
    expected = {plan.segment_name(x, n) for x in letters for n in numbers} | {plan.init_name(x) for x in letters}
    answer = await run(
        "media.vod.encode",
        source,
        msgspec.msgpack.encode(ChunkRequest(plan, number, names, family)),
        limits,
        seconds=limits.work_seconds,
        folder=folder,
        may_write=expected.__contains__,
        progress=progress,
        devices=bool(family),
    )
    return msgspec.msgpack.decode(answer, type=ChunkResult)


async def encode_audio(
    source: Path, plan: Plan, folder: Path, progress: Progress | None = None, limits: Limits | None = None
) -> AudioResult:
    """The sound in one piece, into an init segment and segments as the plan calls them. The plan must have audio.
    Raises as encode_chunk."""
    if plan.audio is None:
        raise LookupError("audio")
    limits = limits or Limits()
    letter = plan.sound
    expected = {plan.segment_name(letter, n) for n in range(plan.segments)} | {plan.init_name(letter)}
    answer = await run(
        "media.vod.sound",
        source,
        msgspec.msgpack.encode(plan),
        limits,
        seconds=limits.work_seconds,
        folder=folder,
        may_write=expected.__contains__,
        progress=progress,
    )
    return msgspec.msgpack.decode(answer, type=AudioResult)


async def make_pictures(
    source: Path, plan: Plan, folder: Path, progress: Progress | None = None, limits: Limits | None = None
) -> Pictures:
    """`thumb-{n}.jpg` to choose from, `story.vtt` with `story-{n}.jpg`, `preview.webp`. The plan must have pictures.

    What of it cannot be made (a damaged place, a single frame) is left out; raises EngineFailed, LookupError.
    """
    if not plan.rungs:
        raise LookupError("video")
    limits = limits or Limits()
    answer = await run(
        "media.vod.pictures",
        source,
        msgspec.msgpack.encode(plan),
        limits,
        seconds=limits.work_seconds,
        folder=folder,
        may_write=lambda name: PICTURES.fullmatch(name) is not None,
        progress=progress,
    )
    return msgspec.msgpack.decode(answer, type=Pictures)
