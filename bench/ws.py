"""`bin/bench ws`: one live channel's chat to many WebSockets.

The server is measured with everything on: each message is checked, written to the database, and only then delivered
with its author, offset and times. The peers repeat what they receive.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.environments import CACHE, node_modules, peers_python
from bench.figures import Table, median, ratio, verdict
from bench.processes import BenchError, Cost, Process, cost, free_port, pinned, say, wait_for_port
from bench.server import REPOSITORY, Server
from bench.wrk import CLIENT_CPU, SERVER_CPU

HERE = Path(__file__).parent
TEXT_BYTES = 200
PUBLISHERS = 64  # in turn, so that no single one meets its rate limit
OURS, TICKED, DEFLATED = "social-flow", "social-flow, 50 ms tick", "social-flow, deflate"
NAMED = "social-flow, signed in, who is there"
PEOPLE = 1000  # different ones; with more connections each has several
ROUNDS = 7  # seconds in which presence has told and read everybody a few times
FLOOR, SAME_FLOOR = "C floor", "C floor, our bytes"
ONCE, NAIVE = "bare aiohttp, once", "bare aiohttp, naive"
STARLETTE, WEBSOCKETS = "Starlette + uvicorn", "websockets, broadcast"
NODE, NODE_DEFLATED, SOCKETIO = "Node ws", "Node ws, deflate", "socket.io"
SERVERS = (OURS, TICKED, NAMED, FLOOR, SAME_FLOOR, ONCE, NAIVE, WEBSOCKETS, STARLETTE, NODE, SOCKETIO)
WITH_DEFLATE = (OURS, DEFLATED, NODE, NODE_DEFLATED)
SETTINGS = {"CHAT_INTERVAL": "0", "CHAT_BURST": "1000000"}


@dataclass(frozen=True, slots=True)
class Plan:
    """rates: messages a second, one load after another on the same connections; 0: as fast as it goes."""

    subscribers: int
    runs: int
    seconds: int
    rates: Sequence[float]
    servers: Sequence[str]


@dataclass(slots=True)
class Room:
    """A server to load. words: further arguments of wsload."""

    port: int
    cost: Callable[[bool], Cost]
    database: Callable[[], Cost] = Cost
    words: Sequence[str] = ()


@dataclass(slots=True)
class Fan:
    """One list entry a run. deliveries a second; cpu in s a million deliveries; p50, p99 in ms; connecting in ms of CPU
    a connection; memory in kB a connection."""

    deliveries: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    size: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    connecting: list[float] = field(default_factory=list)


Results = dict[tuple[float, str], Fan]


def run(plan: Plan, folder: Path) -> None:
    wsload = compiled("wsload")
    makers = {name: make for name, make in servers(plan.subscribers).items() if name in plan.servers}
    results: Results = {}
    for number in range(plan.runs):
        for name, make in makers.items():
            say(f"{name}, run {number + 1} of {plan.runs} …")
            here = folder / f"{number}-{len(results)}-{list(makers).index(name)}"
            here.mkdir()
            with ExitStack() as undo:
                size = TEXT_BYTES
                if name == SAME_FLOOR and (ours := results.get((plan.rates[0], OURS))) is not None:
                    size = round(statistics.median(ours.size))
                try:
                    load(wsload, make(undo, here), plan, name, size, results)
                except BenchError as error:  # one that cannot take so many is a result, too
                    if name == OURS:
                        raise
                    say(f"  {name}: {error}")
            shutil.rmtree(here, ignore_errors=True)
    show(results, plan)


def chosen(words: str) -> tuple[str, ...]:
    """The servers that any of the words, separated by semicolons, is a part of; without words all."""
    parts = [part.strip().lower() for part in words.split(";") if part.strip()]
    names = tuple(name for name in SERVERS if not parts or any(part in name.lower() for part in parts))
    if not names:
        raise BenchError(f"no server is called {words!r}; there are: {'; '.join(SERVERS)}")
    return names


def servers(subscribers: int) -> dict[str, Callable[[ExitStack, Path], Room]]:
    bare = [sys.executable, "-m", "bench.peers.ws_aiohttp"]
    floor = [str(compiled("wsfloor"))]
    python = str(peers_python())
    makers: dict[str, Callable[[ExitStack, Path], Room]] = {
        OURS: ours,
        TICKED: lambda undo, here: ours(undo, here, SOCKET_TICKS="live=50"),
        NAMED: lambda undo, here: named(undo, here, subscribers),
        DEFLATED: lambda undo, here: deflated(ours(undo, here, SOCKET_COMPRESS_ABOVE="1")),
        FLOOR: lambda undo, here: peer(undo, here, floor),
        SAME_FLOOR: lambda undo, here: peer(undo, here, floor),
        ONCE: lambda undo, here: peer(undo, here, bare, "once"),
        NAIVE: lambda undo, here: peer(undo, here, bare, "naive"),
        WEBSOCKETS: lambda undo, here: peer(undo, here, [python, "-m", "bench.peers.ws_websockets"]),
        STARLETTE: lambda undo, here: peer(undo, here, [python, "-m", "bench.peers.ws_starlette"]),
    }
    if (modules := node_modules()) is not None:
        node, socketio = (["node", str(HERE / "peers" / name)] for name in ("ws_node.js", "ws_socketio.js"))
        makers[NODE] = lambda undo, here: peer(undo, here, node, node_path=modules)
        makers[NODE_DEFLATED] = lambda undo, here: deflated(peer(undo, here, node, "deflate", node_path=modules))
        makers[SOCKETIO] = lambda undo, here: spoken(peer(undo, here, socketio, node_path=modules))
    return makers


def named(undo: ExitStack, here: Path, subscribers: int) -> Room:
    """Every connection is of somebody, and looks at who is there."""
    server = undo.enter_context(Server(here, SETTINGS, cpu=SERVER_CPU, database_cpu=CLIENT_CPU))
    live = server.prepare("The room")
    firsts = here / "firsts"
    tokens = server.register_many(min(PEOPLE, subscribers))
    firsts.write_text("".join(f'{{"type":"authenticate","id":1,"token":"{token}"}}\n' for token in tokens))
    words = ["-A", str(firsts), "-i", str(ROUNDS)]
    words += ["-j", json.dumps({"type": "subscribe", "id": 2, "channel": live.channel, "presence": True})]
    words += ["-w", '"recovered"']
    words += ["-f", json.dumps({"type": "publish", "id": 3, "channel": live.channel, "data": {"text": "%s"}})]
    return Room(server.http_port, lambda memory: server.cost(memory=memory), server.database_cost, words)


def ours(undo: ExitStack, here: Path, **settings: str) -> Room:
    server = undo.enter_context(Server(here, {**SETTINGS, **settings}, cpu=SERVER_CPU, database_cpu=CLIENT_CPU))
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


def deflated(room: Room) -> Room:
    return replace(room, words=[*room.words, "-d"])


def spoken(room: Room) -> Room:
    """socket.io's own words: `40` joins the default namespace, `42` is an event."""
    path = "/socket.io/?EIO=4&transport=websocket"
    return replace(room, words=["-u", path, "-j", "40", "-w", "40{", "-f", '42["say","%s"]'])


def load(wsload: Path, room: Room, plan: Plan, name: str, size: int, results: Results) -> None:
    """One run of wsload, one load after another; the costs are read when it says that one begins and when it reports.
    Raises BenchError.
    """
    publishers = min(PUBLISHERS, plan.subscribers)
    words = ["-p", room.port, "-n", plan.subscribers, "-k", publishers, "-t", plan.seconds, "-s", size]
    words += ["-r", ",".join(f"{rate:g}" for rate in plan.rates), *room.words]
    command = [*pinned(CLIENT_CPU), str(wsload), *map(str, words)]
    waiting = list(plan.rates)
    idle = room.cost(True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stderr is not None  # noqa: PT018 one fact for the type checker
        connected = resting = before = stored = Cost()
        for line in child.stdout:
            if line.startswith("connected"):
                connected = room.cost(False)
            elif line.startswith("idle"):
                resting = room.cost(True)
            elif line.startswith("begin"):
                before, stored = room.cost(False), room.database()
            elif line.startswith("{"):
                spent, used = room.cost(False).since(before), room.database().since(stored)
                report = json.loads(line)
                fan = results.setdefault((waiting.pop(0), name), Fan())
                if report["errors"] or report["stalls"]:
                    say(f"  {report['errors']} messages were refused, {report['stalls']} waits ran out.")
                delivered = report["deliveries"]
                if not delivered:
                    raise BenchError("nothing was delivered")
                fan.deliveries.append(delivered / report["seconds"])
                fan.cpu.append(1e6 * spent.cpu / delivered)
                fan.cores.append(spent.cpu / report["seconds"])
                fan.database.append(1e6 * used.cpu / delivered)
                fan.p50.append(report["p50"])
                fan.p99.append(report["p99"])
                fan.load.append(report["cores"])
                fan.size.append(report["bytes"] / delivered)
                fan.memory.append(1000 * (resting.rss - idle.rss) / plan.subscribers)
                fan.connecting.append(1000 * connected.since(idle).cpu / plan.subscribers)
        complaint = child.stderr.read().strip()
    if child.returncode or waiting:
        raise BenchError(complaint[:500] or f"wsload ended with {child.returncode}")


def show(results: Results, plan: Plan) -> None:
    for rate in plan.rates:
        table = Table(
            f"{plan.subscribers} subscribers, texts of {TEXT_BYTES} bytes, {how(rate)}",
            ["server", "deliveries/s", "CPU s a million", "its cores", "database", "p50, ms", "p99, ms", "bytes each",
             "load cores"],
        )  # fmt: skip
        for name in plan.servers:
            if (fan := results.get((rate, name))) is not None:
                table.add(
                    name, median(fan.deliveries, 0), median(fan.cpu), median(fan.cores), median(fan.database),
                    median(fan.p50), median(fan.p99), median(fan.size, 0), median(fan.load),
                )  # fmt: skip
        table.show()
    table = Table(f"{plan.subscribers} connections, idle", ["server", "kB a connection", "CPU ms to connect one"])
    for name in plan.servers:
        if (fan := results.get((plan.rates[0], name))) is not None:
            table.add(name, median(fan.memory, 1), median(fan.connecting))
    table.show()
    say()
    for rate in plan.rates:
        compare(results, plan, rate)
    for name in (OURS, NAMED):
        if (mine := results.get((plan.rates[0], name))) and (bare := results.get((plan.rates[0], NAIVE))):
            above = statistics.median(mine.memory) - statistics.median(bare.memory)
            verdict(f"memory of a connection of {name} above bare aiohttp's", above, 4.0, most=True, unit=" kB")


def compare(results: Results, plan: Plan, rate: float) -> None:
    mine = results.get((rate, OURS))
    if mine is None:
        return
    aim = 1.6 if plan.subscribers < 5000 else 1.4
    for name in (SAME_FLOOR, FLOOR):
        if (floor := results.get((rate, name))) is not None:
            verdict(f"CPU a delivery over that of {name}, {how(rate)}", ratio(mine.cpu, floor.cpu), aim, most=True)
    for name in plan.servers:
        other = results.get((rate, name))
        if other is not None and name not in (OURS, NAMED, FLOOR, SAME_FLOOR):
            share = ratio(other.cpu, mine.cpu)
            say(f"  CPU a delivery of {name} over ours, {how(rate)}: {share:.2f}")
    taken = results.get((rate, FLOOR))
    if taken is not None and not rate:
        times = ratio(taken.deliveries, mine.deliveries)
        say(
            f"  The client was not the limit: it used {statistics.median(mine.load):.2f} of its core with us, and took "
            f"{statistics.median(taken.deliveries):,.0f} deliveries/s from the floor, {times:.1f} times ours."
            if times and times > 1.1 and statistics.median(mine.load) < 0.9
            else "  The client may have been the limit: trust the CPU a delivery, not the rate."
        )


def how(rate: float) -> str:
    return f"{rate:g} messages/s" if rate else "next message when all have the last one"


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
