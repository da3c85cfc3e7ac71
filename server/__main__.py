"""`python -m server`: start the server, say where to go, run until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import signal
import socket
import sys

import uvloop

from server.app import Server
from server.demo import run_demo
from server.settings import SettingError, Settings
from server.wiring import CannotStart

SLOW_CALLBACK = 0.020
"""Seconds that one callback may hold the event loop."""


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bin/run", description="The Social Flow server.")
    arguments.add_argument("--demo", action="store_true", help="also push a generated live broadcast")
    options = arguments.parse_args()
    try:
        settings = Settings.load()
        uvloop.run(serve(settings, demo=options.demo))
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    except CannotStart as error:
        sys.exit(f"Cannot start: {error}")
    except OSError as error:
        sys.exit(f"Cannot start: {in_words(error)}")


async def serve(settings: Settings, *, demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if loop.get_debug():  # PYTHONASYNCIODEBUG=1: what holds the loop is logged
        loop.slow_callback_duration = SLOW_CALLBACK
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    http = bind(settings.http_host, settings.http_port, "HTTP_PORT")
    server = Server(settings)
    demonstration: asyncio.Task[None] | None = None
    try:
        await server.start(http)
        announce(settings, server)
        if demo:
            demonstration = loop.create_task(
                run_demo(
                    api=f"http://{_loopback(settings.http_host)}:{server.http_port}",
                    rtmp=f"rtmp://{_loopback(settings.rtmp_host)}:{server.rtmp_port}/live",
                    data_dir=settings.data_path,
                )
            )
            demonstration.add_done_callback(_demo_done)
        await stop.wait()
        say("stopping")
    finally:
        if demonstration is not None:
            demonstration.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await demonstration
        await server.close()


def bind(host: str, port: int, name: str) -> socket.socket:
    """The listening socket, before anything else is started. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(f"port {port} is in use. Stop the other program, or set {name} to a free port.") from None
        if error.errno == errno.EACCES:
            raise CannotStart(f"port {port} needs more rights than this user has. Set {name} above 1023.") from None
        raise CannotStart(f"cannot listen on {host}:{port} ({error.strerror}). Look at {name} and its host.") from None
    listener.setblocking(False)
    return listener


def announce(settings: Settings, server: Server) -> None:
    """Where to go, for people; the last line is for programs."""
    local = settings.public_url.rstrip("/") or f"http://localhost:{server.http_port}"
    say("")
    say(f"  Watch       {local}/")
    say(f"  Broadcast   {local}/studio   (address and key for OBS or ffmpeg)")
    say(f"  API         {local}/docs")
    if server.rtmp_port:
        say(f"  RTMP        {server.address.rtmp}")
    if not settings.public_url and settings.http_host in ("0.0.0.0", "::"):
        neighbour = network_address()
        if neighbour:
            say(f"  From another machine: http://{neighbour}:{server.http_port}/")
    say("")
    say(f"ready http://{_loopback(settings.http_host)}:{server.http_port}")


def network_address() -> str | None:
    """This machine's address in its network. Connecting a UDP socket sends nothing; it only chooses a route."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return None


def in_words(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return f"the disk is full ({error.filename or 'DATA_DIR'}). Free some space, or set DATA_DIR to another disk."
    if error.errno in (errno.EACCES, errno.EROFS):
        return f"no right to write {error.filename}. Set DATA_DIR to a folder of your own."
    return str(error)


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _loopback(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)


def _demo_done(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        say(f"The demo stopped: {task.exception()}")


if __name__ == "__main__":
    main()
