"""`python -m bench.postgres FOLDER`: the embedded PostgreSQL as a process of its own, until SIGTERM.

The server of a run is given its address, so that the database's CPU is counted apart and may be held to another
processor than the server.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from bench.processes import say
from storage.embedded.postgres import EmbeddedPostgres


async def serve(folder: Path) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    database = EmbeddedPostgres(folder)
    say(f"ready {await database.start()}")
    try:
        await stop.wait()
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
