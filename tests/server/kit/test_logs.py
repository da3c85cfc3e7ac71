"""Log lines: their form, and what becomes of them when nobody reads."""

from __future__ import annotations

import io
import json
import logging
import threading

from server.kit import logs
from server.kit.logs import LogOutput


def _log(output: LogOutput, *args: object, **options: object) -> None:
    logger = logging.Logger("test")
    logger.addHandler(output)
    logger.info(*args, **options)  # type: ignore[arg-type]


def test_json_lines() -> None:
    stream = io.StringIO()
    output = LogOutput("json", stream)
    output.start()
    token = logs.request_id.set("r-1")
    _log(output, "hello %s\nline", "you", extra={"fields": {"route": "/x", "status": 200}})
    logs.request_id.reset(token)
    try:
        raise ValueError("x")
    except ValueError:
        _log(output, "failed", exc_info=True)
    output.close()
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["message"], first["request_id"], first["status"]) == ("hello you\nline", "r-1", 200)
    assert (first["level"], first["logger"]) == ("info", "test")
    assert first["time"].endswith("Z")
    assert "request_id" not in second
    assert "ValueError: x" in second["trace"]


def test_a_client_cannot_write_lines_of_its_own() -> None:
    stream = io.StringIO()
    output = LogOutput("text", stream)
    output.start()
    _log(output, "path %s", "/a\n2026 INFO forged\x1b[31m")
    output.close()
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_a_record_that_cannot_be_formatted_is_said_to_be_one() -> None:
    stream = io.StringIO()
    output = LogOutput("text", stream)
    output.start()
    _log(output, "%d", "no number")
    output.close()
    assert "cannot be formatted" in stream.getvalue()


def test_who_logs_never_waits_for_who_reads() -> None:
    class Stuck(io.StringIO):
        free = threading.Event()

        def write(self, text: str) -> int:
            self.free.wait(30)
            return super().write(text)

    stream = Stuck()
    output = LogOutput("text", stream)
    output.start()
    for number in range(25_000):
        _log(output, "line %d", number)
    assert output.dropped >= 4_000
    assert output.describe()["waiting"] == 10_000
    stream.free.set()
    output.close()
    assert "log lines were dropped" in stream.getvalue()
