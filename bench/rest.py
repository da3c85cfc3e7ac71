"""`bin/bench rest`: reading the list of what is live, and writing a chat message, against small servers on the same
database that do nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.environments import peers_python
from bench.figures import Table, ratio
from bench.media import live_media, read_flv
from bench.peers import rest_rows
from bench.processes import BenchError, Cost, Process, cost, free_port, say, wait_for_port, wait_until
from bench.pusher import Pusher
from bench.server import REPOSITORY, Prepared, Server
from bench.wrk import CLIENT_CPU, SERVER_CPU, Load, need_wrk, press

ROWS = 20
BARE, FASTAPI = "bare aiohttp + asyncpg", "FastAPI + SQLAlchemy"
READ, WRITE = f"GET /live?limit={ROWS}", "POST /live/{id}/chat"
TEXT = "The quick brown fox jumps over the lazy dog, and everybody who watches has something to say about it."
# broadcasts whose publisher left stay in the list, without costing anything while the list is read
# the log is on: a line a request, as people run it
SETTINGS = {"LOG_LEVEL": "info", "RECONNECT_WINDOW": "3600", "CHAT_INTERVAL": "0", "CHAT_BURST": "1000000"}


@dataclass(frozen=True, slots=True)
class Plan:
    runs: int
    seconds: int
    connections: int


@dataclass(frozen=True, slots=True)
class Target:
    base: str
    cost: Callable[[], Cost]


def run(plan: Plan, folder: Path, cache: Path) -> None:
    need_wrk()
    with ExitStack() as undo:
        server = undo.enter_context(Server(folder / "ours", SETTINGS, cpu=SERVER_CPU, database_cpu=CLIENT_CPU))
        room = go_on_air(server, cache)
        page = server.call("GET", f"/api/v1/live?limit={ROWS}")
        if len(page["items"]) != ROWS:
            raise BenchError(f"{len(page['items'])} broadcasts are listed, {ROWS} were pushed")
        asyncio.run(rest_rows.fill(server.dsn, page["items"]))
        targets = {"social-flow": Target(server.url, server.cost)}
        targets[BARE] = small(undo, folder, server.dsn, "rest_aiohttp")
        targets[FASTAPI] = small(undo, folder, server.dsn, "rest_fastapi", peers_python(cache))
        results: dict[tuple[str, str], Load] = {}
        headers = {"Authorization": f"Bearer {room.token}", "Content-Type": "application/json"}
        for number in range(plan.runs):
            say(f"run {number + 1} of {plan.runs} …")
            for what in (READ, WRITE):
                for name, target in targets.items():
                    path = f"/api/v1/live?limit={ROWS}" if what == READ else f"/api/v1/live/{room.id}/chat"
                    press(
                        results.setdefault((what, name), Load()),
                        target.base + path,
                        target.cost,
                        seconds=plan.seconds,
                        connections=plan.connections,
                        headers=headers,
                        body="" if what == READ else json.dumps({"text": TEXT}),
                        database=server.database_cost,
                    )
        if complaints := server.complaints():
            say(f"its log says:\n{complaints[:1000]}")
    show(results, len(json.dumps(page, separators=(",", ":"))), plan.connections)


def go_on_air(server: Server, cache: Path) -> Prepared:
    """ROWS broadcasts that were live a moment ago and wait for their publishers; one of them."""
    tags = [tag for tag in read_flv(live_media(cache)) if tag.time < 5000]
    prepared = server.prepare_many(f"Broadcast number {number} of this evening" for number in range(ROWS))
    pushers = [Pusher(one.rtmp, tags) for one in prepared]
    try:
        for pusher in pushers:
            pusher.start()
        wait_until(lambda: all(p.media_seconds > 1 or p.failed for p in pushers), 30, f"{ROWS} pushes")
        if failed := next((pusher.failed for pusher in pushers if pusher.failed), ""):
            raise BenchError(f"a push failed: {failed}")
        path = f"/api/v1/live?limit={ROWS}"
        wait_until(lambda: len(server.call("GET", path)["items"]) == ROWS, 60, f"{ROWS} broadcasts in the list")
    finally:
        for pusher in pushers:
            pusher.stop()

    def quiet() -> bool:
        return all(item["state"] == "interrupted" for item in server.call("GET", path)["items"])

    wait_until(quiet, 60, "the publishers to be gone")
    return prepared[0]


def small(undo: ExitStack, folder: Path, dsn: str, module: str, python: Path | str = sys.executable) -> Target:
    port = free_port()
    command = [str(python), "-m", f"bench.peers.{module}", str(port), dsn]
    process = Process(command, log=folder / f"{module}.log", cpu=SERVER_CPU, cwd=REPOSITORY)
    undo.callback(process.stop)
    wait_for_port(port, process)
    return Target(f"http://127.0.0.1:{port}", lambda: cost([process.pid]))


def show(results: dict[tuple[str, str], Load], size: int, connections: int) -> None:
    title = (
        f"{connections} connections; the list has {ROWS} rows and {size} bytes; every message is on disk when answered"
    )
    table = Table(title, ["server", "request", *Load.COLUMNS])
    for (what, name), load in results.items():
        table.add(name, what, *load.cells())
    table.show()
    say()
    for what in (READ, WRITE):
        ours, bare, fastapi = (results[what, name] for name in ("social-flow", BARE, FASTAPI))
        say(
            f"  {what}: {ratio(fastapi.cpu, ours.cpu):.1f} times the requests a CPU second of {FASTAPI}, "
            f"{ratio(bare.cpu, ours.cpu):.2f} of {BARE}"
        )
