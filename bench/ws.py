"""`bin/bench ws`: one live channel's chat to many WebSockets.

The server is measured with everything on: each message is checked, written to the database, and only then delivered
with its author, offset and times. The peers repeat what they receive.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import Table, median, ratio
from bench.processes import BenchError, Cost, Process, cost, free_port, missing, pinned, say, wait_for_port
from bench.server import REPOSITORY, Server
from bench.wrk import CLIENT_CPU, SERVER_CPU

HERE = Path(__file__).parent
CACHE = REPOSITORY / "var" / "bench"
TEXT_BYTES = 200
PUBLISHERS = 64  # in turn, so that no single one meets its rate limit


@dataclass(frozen=True, slots=True)
class Plan:
    subscribers: int
    runs: int
    seconds: int
    rate: int


@dataclass(slots=True)
class Room:
    """A server to load. words: further arguments of wsload."""

    port: int
    cost: Callable[[bool], Cost]
    database: Callable[[], Cost] = Cost
    words: Sequence[str] = ()


@dataclass(slots=True)
class Fan:
    """One list entry a run. deliveries a second; cpu in s a million deliveries; p50, p99 in ms."""

    deliveries: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)


def run(plan: Plan, folder: Path) -> None:
    wsload = compiled("wsload")
    bare, node = [sys.executable, "-m", "bench.peers.ws_aiohttp"], ["node", str(HERE / "peers" / "ws_node.js")]
    makers: dict[str, Callable[[ExitStack, Path], Room]] = {
        "social-flow": ours,
        "C floor": lambda undo, here: peer(undo, here, [str(compiled("wsfloor"))]),
        "bare aiohttp, once": lambda undo, here: peer(undo, here, bare, "once"),
        "bare aiohttp, naive": lambda undo, here: peer(undo, here, bare, "naive"),
    }
    if (modules := node_ws()) is not None:
        makers["Node ws"] = lambda undo, here: peer(undo, here, node, node_path=modules)
    results: dict[tuple[int, str], Fan] = {}
    for rate in (0, plan.rate):
        for number in range(plan.runs):
            for name, make in makers.items():
                say(f"{name}, {f'{rate} messages/s' if rate else 'closed loop'}, run {number + 1} of {plan.runs} …")
                here = folder / f"{name.replace(' ', '-').replace(',', '')}-{rate}-{number}"
                here.mkdir()
                with ExitStack() as undo:
                    load(wsload, make(undo, here), plan, rate, results.setdefault((rate, name), Fan()))
                shutil.rmtree(here, ignore_errors=True)
    show(results, plan)


def ours(undo: ExitStack, here: Path) -> Room:
    settings = {"CHAT_INTERVAL": "0", "CHAT_BURST": "1000000"}
    server = undo.enter_context(Server(here, settings, cpu=SERVER_CPU, database_cpu=CLIENT_CPU))
    live = server.prepare("The room")
    words = ["-a", json.dumps({"type": "authenticate", "id": 1, "token": live.token})]
    words += ["-j", json.dumps({"type": "subscribe", "id": 2, "channel": live.channel}), "-w", '"recovered"']
    words += ["-f", json.dumps({"type": "publish", "id": 3, "channel": live.channel, "data": {"text": "%s"}})]
    return Room(server.http_port, lambda memory: server.cost(memory=memory), server.database_cost, words)


def peer(undo: ExitStack, here: Path, command: Sequence[str], *words: str, node_path: Path | None = None) -> Room:
    port = free_port()
    env = {"NODE_PATH": str(node_path)} if node_path else None
    process = Process([*command, str(port), *words], log=here / "peer.log", env=env, cpu=SERVER_CPU, cwd=REPOSITORY)
    undo.callback(process.stop)
    wait_for_port(port, process)
    return Room(port, lambda memory: cost([process.pid], memory=memory))


def load(wsload: Path, room: Room, plan: Plan, rate: int, fan: Fan) -> None:
    """One run of wsload; the costs are read when it says that it begins and when it reports."""
    publishers = min(PUBLISHERS, plan.subscribers)
    command = [
        *pinned(CLIENT_CPU),
        str(wsload),
        "-p",
        str(room.port),
        "-n",
        str(plan.subscribers),
        "-k",
        str(publishers),
    ]
    command += ["-t", str(plan.seconds), "-r", str(rate), "-s", str(TEXT_BYTES), *room.words]
    idle = room.cost(True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None  # noqa: PT018 one fact for the type checker
        connected = before = stored = Cost()
        report = {}
        for line in child.stdout:
            if line.startswith("connected"):
                connected = room.cost(True)
            elif line.startswith("begin"):
                before, stored = room.cost(False), room.database()
            elif line.startswith("{"):
                spent, used = room.cost(False).since(before), room.database().since(stored)
                report = json.loads(line)
        complaint = child.stderr.read().strip()
    if child.returncode or not report.get("deliveries"):
        raise BenchError(complaint or "nothing was delivered")
    if report["errors"] or report["stalls"]:
        say(f"  {report['errors']} messages were refused, {report['stalls']} waits ran out. {complaint[:300]}")
    delivered = report["deliveries"]
    fan.deliveries.append(delivered / report["seconds"])
    fan.cpu.append(1e6 * spent.cpu / delivered)
    fan.database.append(1e6 * used.cpu / delivered)
    fan.p50.append(report["p50"])
    fan.p99.append(report["p99"])
    fan.memory.append(1000 * (connected.rss - idle.rss) / plan.subscribers)
    fan.load.append(report["cores"])
    fan.size.append(report["bytes"] / delivered)


def show(results: dict[tuple[int, str], Fan], plan: Plan) -> None:
    for rate in (0, plan.rate):
        how = f"{rate} messages/s" if rate else "next message when all have the last one"
        table = Table(
            f"{plan.subscribers} subscribers, texts of {TEXT_BYTES} bytes, {how}",
            ["server", "deliveries/s", "CPU s a million", "database", "p50, ms", "p99, ms", "bytes each",
             "kB a connection", "load cores"],
        )  # fmt: skip
        for (at, name), fan in results.items():
            if at == rate:
                table.add(
                    name, median(fan.deliveries, 0), median(fan.cpu), median(fan.database), median(fan.p50),
                    median(fan.p99), median(fan.size, 0), median(fan.memory, 1), median(fan.load),
                )  # fmt: skip
        table.show()
    say()
    for rate in (0, plan.rate):
        share = ratio(results[rate, "social-flow"].cpu, results[rate, "bare aiohttp, naive"].cpu)
        how = f"{rate} messages/s" if rate else "closed loop"
        say(f"  CPU a delivery as a multiple of bare aiohttp's (naive), {how}: {share:.2f}")


def compiled(name: str) -> Path:
    """A C program of ours, made when its source is newer."""
    source, program = HERE / "load" / f"{name}.c", CACHE / name
    if program.is_file() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise BenchError("no C compiler (Debian: apt-get install gcc libc6-dev); the load generator is made with it.")
    CACHE.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise BenchError(f"{source.name} does not compile: {done.stderr[:1000]}")
    return program


def node_ws() -> Path | None:
    """Where Node's `ws` is, fetched once by npm; None, said in words, when it cannot be had."""
    if missing("node", "nodejs", "Node's ws"):
        return None
    modules = CACHE / "node" / "node_modules"
    if (modules / "ws").is_dir():
        return modules
    if missing("npm", "npm", "Node's ws"):
        return None
    command = ["npm", "install", "--prefix", str(CACHE / "node"), "--no-audit", "--no-fund", "--ignore-scripts", "ws@8"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        say(f"npm could not fetch ws: {done.stderr.strip()[-200:]}. Going on without Node's ws.")
        return None
    return modules
