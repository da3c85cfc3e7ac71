"""`bin/run` on a machine that has Python and little else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.conftest import ROOT, make_project

pytestmark = [pytest.mark.xdist_group("set-up"), pytest.mark.timeout(240)]
"""In one worker, which makes one environment for several tests; that is thousands of small files on a busy disk."""


def run(project: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "bin/run", *arguments],
        cwd=project,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def environment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("environment", ROOT / "bin" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is set up, for tests that leave it so."""
    folder = make_project(tmp_path_factory.mktemp("installed") / "project")
    run(folder)
    return folder


def test_the_first_start_sets_up_and_later_ones_install_nothing(project: Path) -> None:
    first = run(project, "--demo")
    assert (first.returncode, first.stdout) == (0, "started --demo\n"), first.stderr
    assert "requirements.lock" in first.stderr
    log = project / ".setup.log"
    log.unlink()

    second = run(project)
    assert (second.returncode, second.stdout, second.stderr) == (0, "started\n", "")
    assert not log.exists(), "an installer ran"


def test_a_changed_lock_is_installed_into_the_same_environment(installed: Path) -> None:
    inside = installed / ".venv" / "kept"
    inside.write_text("")
    (installed / "requirements.lock").write_text("# another\n")
    again = run(installed)
    assert again.returncode == 0, again.stderr
    assert "Installing the Python packages" in again.stderr
    assert "Making .venv" not in again.stderr
    assert inside.exists()


def test_a_moved_folder_gets_an_environment_of_its_own(installed: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(installed, moved, symlinks=True)
    again = run(moved)
    assert (again.returncode, again.stdout) == (0, "started\n"), again.stderr
    assert "Making .venv" in again.stderr
    assert str(installed) not in (moved / ".venv" / "pyvenv.cfg").read_text()


def test_an_environment_whose_python_is_gone_is_made_anew(installed: Path) -> None:
    for link in (installed / ".venv" / "bin").glob("python*"):
        link.unlink()
    again = run(installed)
    assert (again.returncode, again.stdout) == (0, "started\n"), again.stderr


def test_two_first_starts_at_once_take_turns(project: Path) -> None:
    both = [
        subprocess.Popen(["sh", "bin/run"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert [out for out, _ in outputs] == ["started\n", "started\n"]
    assert sum("Making .venv" in errors for _, errors in outputs) == 1


def test_without_a_network_it_says_so_and_the_next_start_goes_on(installed: Path) -> None:
    lock = installed / "requirements.lock"
    lock.write_text(f"no-such-package-here==1.0 --hash=sha256:{'0' * 64}\n")
    failed = run(installed, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_CONFIG_FILE="/dev/null", PIP_RETRIES="1")
    assert failed.returncode == 1
    assert "No network while installing the Python packages" in failed.stderr
    assert failed.stdout == ""
    lock.write_text("")
    again = run(installed)
    assert (again.returncode, again.stdout) == (0, "started\n"), again.stderr


def test_a_package_that_is_not_the_one_locked_is_refused(installed: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not what was locked")
    lock = installed / "requirements.lock"
    lock.write_text(f"thing==1.0 --hash=sha256:{'0' * 64}\n")
    failed = run(installed, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    lock.write_text("")
    assert failed.returncode == 1
    assert "a package is not the one that the lock names" in failed.stderr


def test_no_usable_python_is_said_with_what_to_type(project: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    old = programs / "python3"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac\n')
    old.chmod(0o755)
    failed = run(project, PATH=str(programs))
    assert failed.returncode == 1
    assert "needs Python 3.11 or later, and found Python 3.9.2" in failed.stderr
    assert "apt install python3" in failed.stderr


@pytest.mark.parametrize("part", ["venv", "ensurepip"])
def test_python_without_venv_is_said_with_the_line_to_type(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == part else find(name, *rest))
    with pytest.raises(environment.SetupError, match="sudo apt install python3-venv"):
        environment.Environment(project, "run").make()
    assert not (project / ".venv").exists()


def test_a_full_disk_is_said_before_anything_is_made(
    environment: ModuleType, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(project)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(environment.SetupError, match=r"nearly full: 5 MB are free here, the set-up needs \d+ MB"):
        environment.Environment(project, "run").make()
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk filled up while installing"),
        ("npm error code ENOTFOUND", "No network while installing"),
        ("npm error code EINTEGRITY", "not the one that the lock names"),
        ("ERROR: No matching distribution found for av==18", "no ready-made build for Python"),
        ("something new", "something new"),
    ],
)
def test_what_installers_say_becomes_a_sentence(environment: ModuleType, output: str, words: str) -> None:
    assert words in environment._in_words("installing", output, Path("log"))


def test_an_installation_for_tests_serves_a_start(environment: ModuleType, project: Path) -> None:
    for purpose in ("test", "run"):
        subprocess.run([sys.executable, "-I", "bin/environment.py", purpose], cwd=project, check=True, timeout=100)
    stamps = (project / ".venv" / "stamp").read_text().splitlines()
    assert [line.split()[0] for line in stamps[1:]] == ["run", "test"]


def test_a_user_without_a_home_can_set_up(project: Path) -> None:
    """As a service's user. npm is given as a program that looks at where it may write."""
    programs = project / "programs"
    programs.mkdir()
    npm = programs / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo 10.0.0; exit 0; }\n'
        'mkdir -p "${npm_config_cache:-$HOME/.npm}" node_modules && echo "$npm_config_cache" > cache\n'
    )
    npm.chmod(0o755)
    home = project / "file"
    home.write_text("nobody's home: nothing can be made below it")
    done = run(project, HOME=str(home / "home"), PATH=f"{programs}:{os.environ['PATH']}", npm_config_cache="")
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr
    assert (project / "cache").read_text().strip() == str(project / ".venv" / "npm")
    assert not (project / ".venv" / "npm").exists(), "needed for the one installation only"
