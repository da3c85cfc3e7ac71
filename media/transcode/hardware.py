"""Which encoder in hardware works here.

libavcodec lists encoders whose driver or device is not there, so nothing is believed: a child process encodes some
pictures with each and decodes them again (`media.transcode.trial`). What passes is used until it fails in earnest; then
software does the work, and after some failures in a row the device is left alone for a while. `Hardware` lives as long
as the process that works on videos.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence

import msgspec

from media.transcode.child import Child, ChildFailed
from media.transcode.encoders import Asked, Tried, chosen, encoder_of

log = logging.getLogger(__name__)

TRIAL = "media.transcode.trial"
TRIAL_SECONDS = 60.0
"""A driver that starts cold takes many seconds."""
FAILURES = 3
"""In a row, until a device is left alone."""
REST_SECONDS = 600.0


class Hardware:
    """setting: VIDEO_ENCODER. codec: what is encoded in."""

    def __init__(self, setting: str, codec: str) -> None:
        """Raises ValueError for what is no family."""
        self._families = chosen(setting)
        self._codec = codec
        self._tried: Sequence[Tried] = ()
        self._task: asyncio.Task[None] | None = None
        self._row = 0
        self._failures = 0
        self._not_before = 0.0

    def start(self) -> None:
        if self._families:
            self._task = asyncio.get_running_loop().create_task(self._try())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def describe(self) -> dict[str, object]:
        trying = self._task is not None and not self._task.done()
        faults: Mapping[str, str] = {one.family: one.fault for one in self._tried if one.fault}
        return {
            "encoder": "trying" if trying else self._use() or "software",
            "faults": faults,
            "failures": self._failures,
        }

    async def family(self, codec: str) -> str:
        """What the next piece of work in this codec is done with; "" for software. Waits for the trial."""
        if self._task is not None:
            await asyncio.shield(self._task)
        return self._use() if codec == self._codec else ""

    def succeeded(self) -> None:
        self._row = 0

    def failed(self, family: str) -> None:
        """A piece of work failed with it, and is done again in software."""
        self._failures += 1
        self._row += 1
        log.warning("%s failed in the middle of its work; software goes on", encoder_of(family, self._codec))
        if self._row >= FAILURES:
            self._row = 0
            self._not_before = time.monotonic() + REST_SECONDS
            log.warning("%s is left alone for %d s", encoder_of(family, self._codec), REST_SECONDS)

    def _use(self) -> str:
        if time.monotonic() < self._not_before:
            return ""
        return next((one.family for one in self._tried if not one.fault), "")

    async def _try(self) -> None:
        """Each in a child of its own: a driver that takes its process with it is no reason against the next."""
        found: list[Tried] = []
        for family in self._families:
            child = Child(TRIAL, seconds=TRIAL_SECONDS)
            try:
                answer = await child.ask(msgspec.msgpack.encode(Asked(self._codec, (family,))))
                found += msgspec.msgpack.decode(answer, type=list[Tried])
            except (ChildFailed, msgspec.MsgspecError) as error:
                found.append(Tried(family, str(error)))
            finally:
                await child.close()
            self._tried = tuple(found)
            if not found[-1].fault:
                break
        use = self._use()
        if use:
            log.info("videos are encoded by %s", encoder_of(use, self._codec))
            return
        said = "; ".join(f"{one.family}: {one.fault}" for one in found)
        log.warning("no encoder in hardware works here, so software does it (%s)", said)
