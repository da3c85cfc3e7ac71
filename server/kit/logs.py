"""Structured logs: one line a record, as text or JSON, with the id of the request that caused it.

LogOutput owns the line queue and the thread that writes it, from start to close; the loop never waits for a terminal,
a pipe or a disk. When the reader is too slow lines are dropped, counted, and the count is written as soon as it can be.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO

import msgspec

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")

_QUEUE_LINES = 10_000
_GATHER_SECONDS = 0.02


class TextFormat(logging.Formatter):
    """2026-01-31T12:00:00.123Z INFO name: message [request id]"""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname} {record.name}: {record.getMessage()}"
        if identifier := request_id.get():
            line += f" [{identifier}]"
        if trace := _trace(self, record):
            line += "\n" + trace
        return _printable(line) if trace is None else line


class JsonFormat(logging.Formatter):
    """One object a line; `extra={"fields": {...}}` of a log call becomes members."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identifier := request_id.get():
            line["request_id"] = identifier
        line.update(getattr(record, "fields", {}))
        if trace := _trace(self, record):
            line["trace"] = trace
        return msgspec.json.encode(line, enc_hook=str).decode()


class LogOutput(logging.Handler):
    """The root logger's handler. `stream` is not closed by it."""

    def __init__(self, log_format: str, stream: TextIO | None = None) -> None:
        super().__init__()
        self.setFormatter(JsonFormat() if log_format == "json" else TextFormat())
        self.dropped = 0
        self._stream = sys.stderr if stream is None else stream
        self._lines: deque[str] = deque()
        self._more = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:  # a record that cannot be formatted must not fail who logs
            line = f"a log record of {record.name} cannot be formatted: {error!r}"
        if len(self._lines) >= _QUEUE_LINES:
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._more.is_set():
            self._more.set()

    def close(self) -> None:
        """Write what waits (two seconds at most), then stop. Safe to call twice."""
        self._closing.set()
        self._more.set()
        if self._thread.is_alive():
            self._thread.join(2)
        super().close()

    def describe(self) -> dict[str, object]:
        return {"waiting": len(self._lines), "dropped": self.dropped}

    def _run(self) -> None:
        """One wake-up writes all lines of the last moments: a wake-up a line would cost more than the line."""
        told = 0
        while True:
            self._more.wait()
            closing = self._closing.wait(_GATHER_SECONDS)
            self._more.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if self.dropped > told:
                lines.append(f"{self.dropped - told} log lines were dropped: the reader of the log is too slow")
                told = self.dropped
            try:
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):  # the reader is gone
                self.dropped += len(lines)
                told = self.dropped
            if closing:
                return


def configure(log_format: str, log_level: str, stream: TextIO | None = None) -> LogOutput:
    """Make the root logger write to `stream` (standard error). The caller closes what it gets."""
    output = LogOutput(log_format, stream)
    output.start()
    logging._srcfile = None  # the line of code is never shown either, and looking it up walks the stack
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # never shown, and paid by each line
    root = logging.getLogger()
    root.handlers[:] = [output]
    root.setLevel(log_level.upper())
    for noisy in ("asyncio", "botocore", "aiobotocore", "urllib3", "libav"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return output


def _time(record: logging.LogRecord) -> str:
    second = int(record.created)
    return f"{_second(second)}.{int((record.created - second) * 1000):03}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    """Lines come many in a second."""
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    if record.exc_info:
        return formatter.formatException(record.exc_info)
    return record.exc_text or None


def _printable(line: str) -> str:
    """One record is one line, whatever a client put into it."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
