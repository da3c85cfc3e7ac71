"""A small project of its own, whose set-up is real and needs no network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Our set-up over empty locks."""
    return make_project(tmp_path / "project")


def make_project(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    for name in ("environment.py", "environment.sh", "run"):
        shutil.copy(ROOT / "bin" / name, folder / "bin" / name)
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-npm.lock"):
        (folder / name).write_text("")
    (folder / "package.json").write_text('{"name": "p", "private": true}')
    lock = {"name": "p", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "p"}}}
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "server").mkdir()
    (folder / "server" / "__init__.py").write_text("")
    (folder / "server" / "__main__.py").write_text("import sys\nprint('started', *sys.argv[1:])\n")
    return folder
