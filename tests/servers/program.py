"""A server program of a test, on a port of the loopback interface."""

from __future__ import annotations

import socket
import subprocess
import time

from tests.support import free_port


class Program:
    """Subclasses say how it is started; it ends as a crash would."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, name: str, command: list[str]) -> None:
        """Start it and wait until it listens. `name` is for the error."""
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        _wait_for_port(self.port, self.process, name)

    def close(self) -> None:
        """End it as a crash would: what it has not written is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _wait_for_port(port: int, process: subprocess.Popen[bytes], name: str, within: float = 60.0) -> None:
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
