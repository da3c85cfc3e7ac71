"""`python -m server.worker`: works off jobs, beside or instead of the server process."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

import uvloop

from server.commands import CANNOT_START, check_data_dir, in_words
from server.kit.logs import configure
from server.settings import SettingError, Settings
from server.wiring.worker import WorkerWiring


async def work(settings: Settings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    configure(settings.log_format, settings.log_level)
    wiring = WorkerWiring(settings)
    await wiring.start()
    sys.stdout.write("ready worker\n")
    sys.stdout.flush()
    try:
        await stop.wait()
    finally:
        await wiring.close()


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/worker",
        description="Work on jobs beside the servers of a fleet, until SIGTERM or Ctrl-C. DATABASE_URL names their "
        "database; every other setting is the servers' too.",
    )
    arguments.parse_args()
    try:
        settings = Settings.load()
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    if not settings.database_url:
        sys.exit("Setting: DATABASE_URL is empty; without it the server itself works off the jobs.")
    try:
        if not settings.s3_endpoint:
            check_data_dir(settings)
        uvloop.run(work(settings))
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    except CANNOT_START as error:
        sys.exit(f"Cannot start: {in_words(error, settings)}")


if __name__ == "__main__":
    main()
