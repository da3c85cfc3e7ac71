"""Child processes of a run and what the operating system says they cost.

A Process lives until `stop`; only processes that were started here are ever signalled, each by its handle. Figures are
of the process and all its descendants, from /proc, so they exist on Linux alone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A measurement cannot be made. The text is for the person who runs it."""


class Process:
    """One child. `cpu`: the processor it is held to, None: all. Its output goes to `log`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cpu: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        words = [str(word) for word in command]
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                [*pinned(cpu), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def wait_for_line(self, prefix: str, seconds: float) -> str:
        """The first line of its output that starts so. Raises BenchError with the end of the output."""
        found = ""

        def there() -> bool:
            nonlocal found
            lines = self.log.read_text(errors="replace").splitlines(keepends=True)
            found = next((line.strip() for line in lines if line.startswith(prefix) and line.endswith("\n")), "")
            return bool(found) or not self.alive

        wait_until(there, seconds, f"{prefix!r} from {self.log.stem}")
        if not found:
            raise BenchError(f"{self.log.stem} ended before it was ready:\n{self.tail()}")
        return found

    def tail(self, size: int = 1500) -> str:
        return self.log.read_text(errors="replace")[-size:]

    def stop(self, grace: float = 10.0) -> None:
        if self.alive:
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU in s since the process began, memory in MB: resident, and proportional (shared pages divided)."""

    user: float = 0.0
    system: float = 0.0
    rss: float = 0.0
    pss: float = 0.0

    @property
    def cpu(self) -> float:
        return self.user + self.system

    def since(self, before: Cost) -> Cost:
        return Cost(self.user - before.user, self.system - before.system, self.rss - before.rss, self.pss - before.pss)


def cost(pids: Sequence[int], *, memory: bool = False) -> Cost:
    """What these processes and their descendants, living and reaped, have used so far."""
    user = system = 0
    rss = pss = 0
    for pid in _tree(pids):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
        if memory:
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    name, _, value = line.partition(":")
                    rss += int(value.split()[0]) if name == "Rss" else 0
                    pss += int(value.split()[0]) if name == "Pss" else 0
    return Cost(user / _TICK, system / _TICK, rss / 1024, pss / 1024)


def threads_cpu(pids: Sequence[int]) -> dict[int, int]:
    """CPU ns that each living thread of these processes and their descendants has used: finer than `cost`, for windows
    in which little happens. What a thread that ended in between has used is not known."""
    used = {}
    for pid in _tree(pids):
        for told in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                used[int(told.parent.name)] = int(told.read_text().split()[0])
    return used


def machine_busy() -> tuple[float, float]:
    """(busy, all) seconds of all processors since the machine started."""
    values = [int(value) for value in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(values) - values[3] - values[4]) / _TICK, sum(values) / _TICK


def _tree(pids: Sequence[int]) -> Iterator[int]:
    waiting, seen = list(pids), set[int]()
    while waiting:
        pid = waiting.pop()
        if pid in seen:
            continue
        seen.add(pid)
        yield pid
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += [int(child) for child in children.read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: Process, seconds: float = 20.0) -> None:
    def open_or_dead() -> bool:
        if not process.alive:
            raise BenchError(f"{process.log.stem} ended before it listened:\n{process.tail()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return True
        return False

    wait_until(open_or_dead, seconds, f"port {port} of {process.log.stem}")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds:g} s for {what}")
        time.sleep(0.02)


def pinned(cpu: int | None) -> list[str]:
    """The words before a command that hold it to one processor; none where that cannot be done."""
    if cpu is None or (os.cpu_count() or 1) < 2 or not shutil.which("taskset"):
        return []
    return ["taskset", "-c", str(cpu)]


def missing(program: str, package: str, without: str) -> bool:
    """Whether a program is not installed; then says what to install and what the run goes on without."""
    if shutil.which(program):
        return False
    say(f"{program} is not installed (Debian: apt-get install {package}): going on without {without}.")
    return True


def say(text: str = "") -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
