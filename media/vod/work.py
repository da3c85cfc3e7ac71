"""A child for one piece of work: a request in, messages out as they come, one of them the last. With limits.

The child opens the source itself before it reads a byte of it, and is sealed then: it can open no file, make no
socket and write to nothing but its pipe. What it makes comes over that pipe, and is written here. Killed when it is
late, when it says nothing for too long, and when whoever waits is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from media.transcode.child import LENGTH, limit_child, seal_child, spawn
from media.vod.errors import BadSource, EngineFailed
from media.vod.options import Limits

MESSAGE_LIMIT = 512 << 20
"""More than any segment; a child whose decoder was taken over can ask for no more."""

Progress = Callable[[float], None]
"""Called on the loop with how much is done, 0.0 to 1.0."""


class Job(msgspec.Struct, array_like=True):
    """The first thing that a child reads. request: what the module makes of it. devices: it uses one for encoding."""

    source: str
    limits: Limits
    request: bytes
    devices: bool = False


class Wrote(msgspec.Struct, array_like=True, tag="w"):
    """A file to write: a name that the parent expects, and its bytes."""

    name: str
    data: bytes


class Step(msgspec.Struct, array_like=True, tag="p"):
    done: float


class Done(msgspec.Struct, array_like=True, tag="d"):
    answer: bytes


class Refused(msgspec.Struct, array_like=True, tag="r"):
    code: str
    reason: str


Message = Wrote | Step | Done | Refused


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


# in the child


class Parent:
    """Whom the child works for: what it says to it, from any thread."""

    def __init__(self, answers: BinaryIO, limits: Limits) -> None:
        self.limits = limits
        self._answers = answers
        self._encode = msgspec.msgpack.Encoder().encode
        self._turn = threading.Lock()

    def wrote(self, name: str, data: bytes) -> None:
        self._say(Wrote(name, data))

    def step(self, done: float) -> None:
        self._say(Step(done))

    def say_last(self, message: Done | Refused) -> None:
        self._say(message)

    def _say(self, message: Message) -> None:
        data = self._encode(message)
        with self._turn:
            self._answers.write(LENGTH.pack(len(data)))
            self._answers.write(data)
            self._answers.flush()


def serve(
    work: Callable[[BinaryIO, bytes, Parent], bytes],
    warm: Callable[[], None] | None = None,
    before: Callable[[bytes], None] | None = None,
) -> None:
    """In the child: one job, sealed. before: gets the request while files and devices can still be opened, and nothing
    of the source has been read. `work` gets the source, the request and the parent, and returns the answer; raises
    BadSource for what is the source's fault. Whatever else it raises ends the child, which the parent takes for a
    failure."""
    requests = sys.stdin.buffer
    (length,) = LENGTH.unpack(requests.read(LENGTH.size))
    job = msgspec.msgpack.decode(requests.read(length), type=Job)
    limit_child(job.limits.niceness, job.limits.memory, devices=job.devices)
    if warm is not None:
        warm()
    if before is not None:
        before(job.request)
    parent = Parent(sys.stdout.buffer, job.limits)
    with open(job.source, "rb") as source:
        seal_child()
        try:
            answer = work(source, job.request, parent)
        except BadSource as error:
            parent.say_last(Refused(error.code, error.reason))
            return
    parent.say_last(Done(answer))
