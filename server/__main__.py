"""`python -m server`: start the server, say where to go, run until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import shutil
import signal
import socket
import sys

import uvloop

from server.app import Server
from server.commands import CANNOT_START, check_data_dir, in_words
from server.demo import run_demo
from server.settings import SettingError, Settings
from server.wiring.choices import CannotStart

log = logging.getLogger("server")

SLOW_CALLBACK = 0.020
"""Seconds that one callback may hold the event loop."""


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bin/run", description="The Social Flow server.")
    arguments.add_argument("--demo", action="store_true", help="also push a generated live broadcast")
    options = arguments.parse_args()
    settings: Settings | None = None
    try:
        settings = Settings.load()
        check_data_dir(settings)
        uvloop.run(serve(settings, demo=options.demo))
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    except CANNOT_START as error:
        sys.exit(f"Cannot start: {in_words(error, settings)}")


async def serve(settings: Settings, *, demo: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if loop.get_debug():  # PYTHONASYNCIODEBUG=1: what holds the loop is logged
        loop.slow_callback_duration = SLOW_CALLBACK
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    http = bind(settings.http_host, settings.http_port, "HTTP_PORT")
    # The ports of RTMP and WebRTC are bound late, when all behind them is there: whether they are free is better known
    # now.
    if settings.rtmp_port:
        bind(settings.rtmp_host, settings.rtmp_port, "RTMP_PORT").close()
    if settings.tls_cert and settings.rtmps_port:
        bind(settings.rtmp_host, settings.rtmps_port, "RTMPS_PORT").close()
    if settings.rtc_port:
        bind(settings.rtc_host, settings.rtc_port, "RTC_PORT", socket.SOCK_DGRAM).close()
    server = Server(settings)
    demonstration: asyncio.Task[None] | None = None
    try:
        await server.start(http)
        announce(settings, server)
        if low := low_disk(settings):
            log.warning(low)
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


def bind(host: str, port: int, name: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """The listening socket, before anything else is started. Raises CannotStart."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, kind)
    if kind == socket.SOCK_STREAM:
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


def low_disk(settings: Settings) -> str | None:
    """A sentence when the disk under DATA_DIR has less room than recording asks for."""
    free = shutil.disk_usage(settings.data_path).free
    if not settings.record or free >= settings.disk_min_free:
        return None
    return (
        f"{free >> 20} MiB are free under DATA_DIR ({settings.data_path}), and nothing new is recorded below "
        f"{settings.disk_min_free >> 20} MiB (DISK_MIN_FREE={settings.disk_min_free}, in bytes)"
    )


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
