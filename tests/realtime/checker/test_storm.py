"""A thousand connections are dropped at once, while messages go on: all come back and have everything.

`python -m bench.reconnect` does the same with ten thousand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg
import pytest

from tests.realtime.checker.crowd import Crowd
from tests.server.streaming.conftest import ServerProcess, User
from tests.support import eventually

READERS = 1000
WITHIN = 30.0


@pytest.mark.settings(SOCKETS_PER_ADDRESS="5000", CHAT_BURST="1000000", CHAT_INTERVAL="0")
async def test_all_come_back(
    server: ServerProcess,
    streamer: User,
    database_url: str,
    record_property: Callable[[str, object], None],
) -> None:
    room = (await streamer.start("The room"))["id"]
    crowd = Crowd(int(server.environment["HTTP_PORT"]), f"live:{room}")
    watch = await asyncpg.connect(database_url)

    async def say(count: int) -> None:
        for number in range(count):
            await streamer.call("POST", f"/api/v1/live/{room}/chat", {"text": f"{number}"}, expect=201)

    async def back(offset: int) -> float:
        """Seconds until everybody holds the channel again."""
        began = time.monotonic()
        async with asyncio.timeout(WITHIN):
            await crowd.whole()
        took = time.monotonic() - began
        await eventually(lambda: all(reader.offset == offset for reader in crowd.readers), what="all at the end")
        return took

    try:
        await say(20)
        await crowd.come(READERS)
        before = await transactions(watch)
        crowd.away = 1.0
        crowd.cut()
        cut = await back(20)
        crowd.cut()
        await say(30)  # while they come
        cut = max(cut, await back(50))
        asked = await transactions(watch) - before
        crowd.away = 2.0
        await server.restart()  # they are told 4000, and come back when somebody listens again
        stopped = await back(50)
    finally:
        await watch.close()
        await crowd.close()
    assert crowd.faults == []
    assert sum(reader.anew for reader in crowd.readers) == 0
    assert sum(reader.recovered for reader in crowd.readers) >= 3 * READERS
    assert len({reader.seen for reader in crowd.readers}) == 1
    assert asked < READERS / 2  # of 2,000 who came back, and 30 messages
    assert crowd.codes == {4000: READERS}
    record_property(
        "figures",
        f"{READERS} cut off, back within {cut:.1f} s with {asked} transactions in the database; {READERS} sent away by"
        f" a server that stopped, back {stopped:.1f} s after it was there again",
    )


async def transactions(watch: asyncpg.Connection[asyncpg.Record]) -> int:
    """Of this database so far, as far as its processes have told; each statement outside of one is one."""
    count: int = await watch.fetchval(
        "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
    )
    return count
