"""Schemathesis against the live server: every route does what its document says, whatever it is sent."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.server.routes.document import Operation, operations_of
from tests.server.routes.town import KINDS, Things, Town
from tests.server.streaming.conftest import ServerProcess

CONFIGURATION = """
seed = 20261120
continue-on-failure = true
warnings = false
request-timeout = 10
max-stream-events = 1
hooks = "tests.server.routes.signing_in"

[cache]
enabled = false

[generation]
database = "none"
deterministic = true
no-shrink = true
max-examples = {examples}
# What a query has besides is let be on purpose: mail programs, proxies and caches add to it.
allow-extra-parameters = false

[checks]
# Some rules no schema can tell: a password too easy to guess, a time that is past, a cursor that was signed.
positive_data_acceptance.enabled = false
# Besides its defaults: a body that is no body of the schema may be too large before it is anything else.
negative_data_rejection.expected-statuses = [
    400, 401, 403, 404, 405, 406, 409, 412, 413, 415, 422, 428, 429,
]
"""
OWNED = 6
"""Things of each kind: some routes delete them."""


@pytest.mark.parametrize(
    ("role", "phases", "examples"),
    [("user", "examples,coverage,fuzzing,stateful", 10), ("admin", "examples,fuzzing", 6)],
)
@pytest.mark.timeout(900)
async def test_schemathesis(
    town: Town,
    server: ServerProcess,
    database_url: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    role: str,
    phases: str,
    examples: int,
) -> None:
    operations = operations_of(await town.call("GET", "/openapi.json"))
    owner = await town.person("owner", roles=None if role == "user" else [role])
    things = [Things(owner) for _ in range(OWNED)]
    owned = {kind: [await each.of(kind) for each in things] for kind in KINDS if not KINDS[kind].shared}
    configuration, report = tmp_path / "schemathesis.toml", tmp_path / "report.json"
    text = CONFIGURATION.format(examples=examples) + _dictionaries(operations, owned)
    configuration.write_text(text, encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli",
        "--config-file", str(configuration),
        "run", f"{server.url}/openapi.json",
        "--no-color", "--phases", phases, "--report-json-path", str(report),
        env={**os.environ, "TOWN": " ".join([server.url, town.origin, database_url, role, owner.token])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = (await process.stdout.read()).decode()
        status = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert status == 0, said
    found = json.loads(report.read_text(encoding="utf-8"))
    done = [rates for rates in found["valid_rates"].values() if any(phase["accepted"] for phase in rates.values())]
    record_property(
        "figures",
        f"schemathesis as {role}: {found['operations']['tested']} operations, {found['test_cases']['generated']} cases,"
        f" {found['test_cases']['unique_failures']} failures; {len(done)} operations also did their work",
    )
    assert found["operations"]["tested"] == len(operations)
    assert "Traceback" not in "\n".join(server.log)


def _dictionaries(operations: list[Operation], owned: dict[str, list[str]]) -> str:
    """Things that are there, for what names things in a path."""
    names = {kind: f"kind{number}" for number, kind in enumerate(owned)}
    said = [f"[dictionaries.{name}]\nvalues = {json.dumps(owned[kind])}\n" for kind, name in names.items()]
    for operation in operations:
        bound: dict[str, Any] = {name: names[kind] for name, kind in operation.in_path.items() if kind in names}
        if bound:
            said.append(f"[[operations]]\ninclude-name = {json.dumps(operation.name)}\n[operations.parameters]\n")
            said += [
                f'"path.{name}" = {{ dictionary = "{dictionary}", probability = 0.6 }}\n'
                for name, dictionary in bound.items()
            ]
    return "\n".join(said)
