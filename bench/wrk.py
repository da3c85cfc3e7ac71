"""wrk as the client: one thread on a processor of its own, and what the server used meanwhile."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import median
from bench.processes import BenchError, Cost, pinned

SERVER_CPU, CLIENT_CPU = 0, 1
_SCRIPT = Path(__file__).with_name("wrk_report.lua")


@dataclass(slots=True)
class Load:
    """One list entry a run. rate in requests/s, megabytes in MB/s, p50 and p99 in ms, cpu in ms a request."""

    rate: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    client_cores: list[float] = field(default_factory=list)

    COLUMNS = (
        "requests/s",
        "MB/s",
        "p50, ms",
        "p99, ms",
        "CPU ms a request",
        "its cores",
        "database cores",
        "wrk cores",
    )

    def cells(self) -> list[str]:
        return [
            median(self.rate, 0), median(self.megabytes, 0), median(self.p50), median(self.p99), median(self.cpu, 3),
            median(self.cores), median(self.database), median(self.client_cores),
        ]  # fmt: skip


def need_wrk() -> None:
    if not shutil.which("wrk"):
        raise BenchError("wrk is not installed (Debian: apt-get install wrk); it is the client of this measurement.")


def press(
    load: Load,
    url: str,
    cost: Callable[[], Cost],
    *,
    seconds: int,
    connections: int,
    headers: Mapping[str, str] | None = None,
    body: str = "",
    database: Callable[[], Cost] = Cost,
) -> None:
    """One run of wrk against one URL. Raises BenchError when any request failed."""
    words = "\n".join(f"{name}: {value}" for name, value in (headers or {}).items())
    env = {**os.environ, "BENCH_METHOD": "POST" if body else "GET", "BENCH_BODY": body, "BENCH_HEADERS": words}
    command = [*pinned(CLIENT_CPU), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    before, stored, own = cost(), database(), _children_cpu()
    done = subprocess.run(
        [*command, "-s", str(_SCRIPT), url], check=False, env=env, capture_output=True, text=True, timeout=seconds + 60
    )
    spent, used, mine = cost().since(before).cpu, database().since(stored).cpu, _children_cpu() - own
    line = next((line for line in done.stdout.splitlines() if line.startswith("REPORT ")), "")
    if not line:
        raise BenchError(f"wrk failed: {done.stdout[-500:]}{done.stderr[-500:]}")
    report = json.loads(line.removeprefix("REPORT "))
    if report["errors"] or report["refused"] or not report["requests"]:
        raise BenchError(f"of {report['requests']} requests to {url} {report['refused']} were refused, "
                         f"{report['errors']} failed")  # fmt: skip
    requests, elapsed = report["requests"], report["seconds"]
    load.rate.append(requests / elapsed)
    load.megabytes.append(report["bytes"] / elapsed / 1e6)
    load.p50.append(report["p50"])
    load.p99.append(report["p99"])
    load.cpu.append(1000 * spent / requests)
    load.cores.append(spent / elapsed)
    load.database.append(used / elapsed)
    load.client_cores.append(mine / elapsed)


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
