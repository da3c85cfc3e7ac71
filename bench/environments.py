"""What only the peers are made of, in folders of its own under `var/bench`, fetched at the first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.processes import BenchError, missing, say
from bench.server import REPOSITORY

CACHE = REPOSITORY / "var" / "bench"
NODE_PACKAGES = ("ws@8", "socket.io@4")


def peers_python(cache: Path = CACHE) -> Path:
    """The Python of an environment with the packages of `requirements-peers.lock`. Raises BenchError."""
    lock = REPOSITORY / "requirements-peers.lock"
    place = cache / "peers"
    python, mark = place / "bin" / "python", place / "made-from"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == lock.read_text(encoding="utf-8")):
        say("Installing the packages of requirements-peers.lock (once) …")
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock], check=True)
        except subprocess.CalledProcessError as error:
            raise BenchError(f"the peers' packages cannot be installed: {error}") from None
        mark.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def node_modules(cache: Path = CACHE) -> Path | None:
    """Where Node finds its peers; None, said in words, when they cannot be had."""
    without = "the peers that are Node's"
    if missing("node", "nodejs", without):
        return None
    folder = cache / "node"
    modules = folder / "node_modules"
    if all((modules / package.partition("@")[0]).is_dir() for package in NODE_PACKAGES):
        return modules
    if missing("npm", "npm", without):
        return None
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", *NODE_PACKAGES]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        say(f"npm could not fetch {', '.join(NODE_PACKAGES)}: {done.stderr.strip()[-200:]}. Going on without them.")
        return None
    return modules
