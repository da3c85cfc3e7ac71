# ruff: noqa: T201 -- a command: it speaks to the terminal
"""`python -m tests.everything`: the checks and every test in stages, what failed once more, and what it all took.

Each stage is a process group of its own with a limit, so neither a test that hangs nor a program that it left behind
can hold the run. The status is 0 when all is well.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [sys.executable, "-m", "pytest"]
WORKERS = ["--max-worker-restart", "0", "-n"]
"""Always in worker processes: one that hangs is ended with its test, and then the run (xdist's second worker for
groups waits for ever)."""
FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
CHECKS_WITHIN = 600.0
TESTS_WITHIN = 2400.0
AGAIN_WITHIN = 900.0
"""Seconds. Far beyond what a slow machine takes; what goes beyond them hangs."""
MOST_AGAIN = 30
"""Tests that are tried once more. More than that is no matter of two busy cores."""
TESTS_FAILED = 1
"""The status of a pytest that ran to its end; conftest gives another when a worker died."""


class Stages:
    """What was run so far, and the seconds of each."""

    def __init__(self) -> None:
        self.took: list[tuple[str, float]] = []

    def run(self, name: str, command: list[str], within: float) -> int:
        """The status of the command; 124, as of `timeout`, when it was ended after `within` s."""
        print(f"== {name}", flush=True)
        begun = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, process_group=0)
        try:
            status = process.wait(within)
        except subprocess.TimeoutExpired:
            print(f"== {name}: ended, because it was not over after {within:.0f} s", flush=True)
            status = 124
        finally:
            self._clear(process, name)
            self.took.append((name, time.monotonic() - begun))
        return status

    def _clear(self, process: subprocess.Popen[bytes], name: str) -> None:
        """End the stage, and what it left behind."""
        if process.poll() is None:
            self._signal(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        left = members(process.pid)
        if left:
            print(f"== {name}: these were left behind: {', '.join(left)}", flush=True)
        self._signal(process.pid, signal.SIGKILL)
        process.wait()

    @staticmethod
    def _signal(group: int, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):  # macOS: of a group of zombies
            os.killpg(group, number)

    def report(self, before: float) -> None:
        took = [("set-up", before), *self.took]
        each = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in took)
        print(f"== time: {each}; together {sum(seconds for _, seconds in took):.0f} s", flush=True)


def members(group: int) -> list[str]:
    """Programs that belong to a process group, with their ids; nothing where there is no /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
            state, _, belongs = rest.split()[:3]
            if int(belongs) == group and state != "Z":
                found.append(f"{name} ({path.parent.name})")
    return found


def failed() -> list[str]:
    """Ids of the tests that failed in the last run."""
    if not FAILED.exists():
        return []
    # xdist adds the group: "…::test_it[a@b]@browser"
    return sorted(re.sub(r"@(browser|set-up)$", "", id) for id in json.loads(FAILED.read_text()))


def tests(stages: Stages) -> tuple[int, list[str]]:
    """(status, a line for each test that was tried twice)."""
    shutil.rmtree(FAILED.parent, ignore_errors=True)
    # Tests wait for media and for programs about as long as they compute: one more than there are cores.
    workers = str(max(2, min(8, (os.cpu_count() or 1) + 1)))
    status = stages.run("tests", [*PYTEST, *WORKERS, workers, "--dist", "loadgroup"], TESTS_WITHIN)
    first = failed()
    if status != TESTS_FAILED or not first:
        return status, []
    if len(first) > MOST_AGAIN:
        return status, [f"{len(first)} tests failed: too many to try them once more"]
    # On two shared cores some only wanted time: each of them is run once more, alone, and said to be.
    shutil.rmtree(FAILED.parent, ignore_errors=True)
    status = stages.run("what failed, once more and alone", [*PYTEST, *WORKERS, "1", *first], AGAIN_WITHIN)
    if status not in (0, TESTS_FAILED):
        return status, [f"failed, and the second try did not come to its end: {id}" for id in first]
    second = failed()
    return status, [f"{'failed twice' if id in second else 'passed the second time'}: {id}" for id in first]


def stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    """The number that may be given is the seconds that went by before this program."""
    before = float(sys.argv[1]) if len(sys.argv) > 1 else 0.0
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    stages = Stages()
    checks = stages.run("checks", ["bin/check"], CHECKS_WITHIN)
    if checks:
        print("== the checks above have failed; the tests run all the same", flush=True)
    status, twice = tests(stages)
    for line in twice:
        print(f"== {line}")
    stages.report(before)
    return status or checks


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
