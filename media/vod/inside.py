"""In a child for one piece of work: what it is told and what it says (see media.vod.work, its parent)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from media.transcode.inside import LENGTH, limit_child, seal_child
from media.vod.errors import BadSource
from media.vod.options import Limits


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
