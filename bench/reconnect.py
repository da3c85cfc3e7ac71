"""`python -m bench.reconnect [CONNECTIONS]`: all readers of one channel are dropped at once and come back with `since`.

Messages are written meanwhile. Every reader checks that it got each place once, in order, with the same content as the
others.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import asyncpg

from bench.figures import Table
from bench.processes import BenchError, say
from bench.server import Prepared, Server
from bench.wrk import CLIENT_CPU, SERVER_CPU
from tests.realtime.checker.crowd import Crowd

SETTINGS = {"CHAT_INTERVAL": "0", "CHAT_BURST": "1000000"}
BEFORE, MEANWHILE = 100, 100
AWAY = 2.0  # a client waits for up to 2 s before it comes back, as docs/realtime.md says
WITHIN = 120.0


async def storm(server: Server, live: Prepared, count: int, table: Table, times: int = 3) -> None:
    crowd = Crowd(server.http_port, live.channel)
    watch = await asyncpg.connect(server.dsn)
    async with aiohttp.ClientSession() as http:
        try:
            await write(http, server, live, BEFORE)
            say(f"{count} connections …")
            async with asyncio.timeout(WITHIN):
                await crowd.come(count)
            crowd.away = AWAY
            said = BEFORE
            for number in range(times):
                busy = number == times - 1  # in the last one messages are written, too
                before, cost = await settled(watch), _cpu(server)
                say(f"cut off, {number + 1} of {times} …")
                began = time.monotonic()
                crowd.cut()
                writing = asyncio.create_task(write(http, server, live, MEANWHILE)) if busy else None
                async with asyncio.timeout(WITHIN):
                    await crowd.whole()
                    back = time.monotonic() - began
                    if writing is not None:
                        await writing
                        said += MEANWHILE
                    while not all(reader.offset == said for reader in crowd.readers):
                        await asyncio.sleep(0.05)
                took = time.monotonic() - began
                spent = _cpu(server) - cost
                asked = await settled(watch) - before
                table.add(
                    f"{count}, {MEANWHILE if busy else 0} messages meanwhile",
                    f"{back:.1f}",
                    f"{took:.1f}",
                    f"{spent:.1f}",
                    f"{asked}",
                    f"{sum(reader.recovered for reader in crowd.readers)}",
                    f"{sum(reader.anew for reader in crowd.readers)}",
                    f"{len(crowd.faults)}",
                    f"{len({reader.seen for reader in crowd.readers})}",
                )
        except TimeoutError:
            away = sum(not reader.holds for reader in crowd.readers)
            crowd.wrong(f"{away} of {count} were not back within {WITHIN:.0f} s")
        finally:
            await crowd.close()
            await watch.close()
    if crowd.faults:
        raise BenchError("\n".join(crowd.faults[:10]))


async def write(http: aiohttp.ClientSession, server: Server, live: Prepared, count: int) -> None:
    headers = {"Authorization": f"Bearer {live.token}"}
    for number in range(count):
        body: dict[str, Any] = {"text": f"{number} " + "x" * 190}
        async with http.post(f"{server.url}/api/v1/live/{live.id}/chat", json=body, headers=headers) as answer:
            if answer.status != 201:
                raise BenchError(await answer.text())


def _cpu(server: Server) -> float:
    cost = server.cost()
    return cost.user + cost.system


async def settled(watch: asyncpg.Connection[asyncpg.Record]) -> int:
    """Transactions of the database so far. Its processes tell theirs up to 10 s late."""
    await asyncio.sleep(11)
    count: int = await watch.fetchval(
        "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    )
    return count


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    columns = [
        "connections",
        "hold it again, s",
        "have all, s",
        "server CPU, s",
        "transactions",
        "recovered",
        "anew",
        "faults",
        "views",
    ]
    table = Table("All connections dropped at once", columns)
    with (
        TemporaryDirectory() as folder,
        Server(Path(folder), SETTINGS, cpu=SERVER_CPU, database_cpu=CLIENT_CPU) as server,
    ):
        live = server.prepare("The room")
        try:
            asyncio.run(storm(server, live, count, table))
        except BenchError as error:
            sys.exit(f"bench: {error}")
        finally:  # also of those that came back before one went wrong
            table.show()
            if complaints := server.complaints():
                say(f"its log says:\n{complaints[:1000]}")


if __name__ == "__main__":
    main()
