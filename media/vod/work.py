"""A child for one piece of work: a request in, messages out as they come, one of them the last. With limits.

The child opens the source itself before it reads a byte of it, and is sealed then: it can open no file, make no
socket and write to nothing but its pipe. What it makes comes over that pipe, and is written here. Killed when it is
late, when it says nothing for too long, and when whoever waits is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from media.transcode.child import spawn
from media.transcode.inside import LENGTH
from media.vod.errors import BadSource, EngineFailed
from media.vod.inside import Done, Job, Message, Refused, Step, Wrote
from media.vod.options import Limits

MESSAGE_LIMIT = 512 << 20
"""More than any segment; a child whose decoder was taken over can ask for no more."""

Progress = Callable[[float], None]
"""Called on the loop with how much is done, 0.0 to 1.0."""


async def run(
    module: str,
    source: Path,
    request: bytes,
    limits: Limits,
    *,
    seconds: float,
    folder: Path | None = None,
    may_write: Callable[[str], bool] = lambda _name: False,
    progress: Progress | None = None,
    devices: bool = False,
) -> bytes:
    """The child's answer. Raises BadSource, EngineFailed. may_write: which names the child may write into the
    folder."""
    process = await spawn(module)
    decode = msgspec.msgpack.Decoder(Message).decode
    job = msgspec.msgpack.encode(Job(os.fspath(source), limits, request, devices))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            process.stdin.write(LENGTH.pack(len(job)) + job)
            await process.stdin.drain()
            while True:
                async with asyncio.timeout(limits.stalled_seconds):
                    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
                    if length > MESSAGE_LIMIT:
                        raise EngineFailed("A piece of the video became too large.")
                    message = decode(await process.stdout.readexactly(length))
                match message:
                    case Wrote(name, data):
                        if folder is None or not may_write(name):
                            raise EngineFailed("The encoder wrote what it was not asked for.")
                        await asyncio.to_thread(_write, folder / name, data)
                    case Step(done):
                        if progress is not None:
                            progress(min(max(done, 0.0), 1.0))
                    case Done(answer):
                        return answer
                    case Refused(code, reason):
                        raise BadSource(code, reason)
    except TimeoutError as error:
        raise EngineFailed("The work on this video took too long.") from error
    except (asyncio.IncompleteReadError, OSError, RuntimeError, msgspec.MsgspecError) as error:
        raise EngineFailed("The work on this video broke off.") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all: another run of the same job may write the same file, and it is read once it has its name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(data)
    draft.replace(path)
