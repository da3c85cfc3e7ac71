"""How many HTTP connections there may be, and what becomes of a client that stops reading, or writes too slowly."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress

import pytest
from aiohttp import web

from server.kit.http import runner
from server.kit.http.connections import room_for
from server.kit.http.runner import Runner
from tests.support import eventually

SIZE = 24 * 1024 * 1024
"""More than the system takes for one connection."""


@asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[tuple[Runner, int]]:
    async def large(_: web.Request) -> web.Response:
        return web.Response(body=bytes(SIZE))

    async def small(_: web.Request) -> web.Response:
        return web.Response(body=b"small")

    async def body(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_get("/large", large)
    app.router.add_get("/small", small)
    app.router.add_post("/body", body)
    served = runner(app, shutdown_timeout=1, **limits)  # type: ignore[arg-type]
    await served.setup()
    site = web.TCPSite(served, "127.0.0.1", 0)
    await site.start()
    try:
        yield served, served.addresses[0][1]
    finally:
        await served.cleanup()


async def ask(port: int, path: str) -> socket.socket:
    """A client that has sent a request and reads nothing yet."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return client


async def read_all(client: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    got = b""
    while chunk := await loop.sock_recv(client, 65536):
        got += chunk
    return got


async def test_a_client_that_never_reads_is_closed() -> None:
    async with serving(write_timeout=0.4) as (served, port):
        with closing(await ask(port, "/large")), closing(await ask(port, "/large")):
            await eventually(lambda: served.connections.stalled == 2)
            await eventually(lambda: len(served.connections) == 0)


async def test_one_that_is_waiting_for_its_close_is_closed_too() -> None:
    """aiohttp has let go of it already: a transport that closes waits for what was written, however long."""
    async with serving(write_timeout=0.4) as (served, port):
        with closing(await ask(port, "/large")):
            await eventually(lambda: len(served.connections) == 1)
            (connection,) = served.connections._open
            await eventually(lambda: connection.transport.get_write_buffer_size() > 0)  # type: ignore[attr-defined]
            connection.force_close()  # type: ignore[attr-defined]
            await eventually(lambda: len(served.connections) == 0)
            assert served.connections.stalled == 1


async def test_one_that_reads_slowly_is_not() -> None:
    timeout = 0.8
    async with serving(write_timeout=timeout) as (served, port):
        with closing(await ask(port, "/large")) as slow, closing(await ask(port, "/large")):
            loop = asyncio.get_running_loop()
            began, got = loop.time(), 0
            while loop.time() - began < 4 * timeout:
                got += len(await loop.sock_recv(slow, 16384))
                await asyncio.sleep(0.02)
            assert served.connections.stalled == 1  # the other one, which shows that the time was long enough
            assert len(served.connections) == 1
            async with asyncio.timeout(20):
                while got < SIZE:
                    chunk = await loop.sock_recv(slow, 1 << 20)
                    assert chunk, f"closed after {got} bytes"
                    got += len(chunk)


async def test_one_that_waits_for_its_answer_is_not() -> None:
    """A blocked playlist, or a connection between two requests: nothing waits for the client."""
    async with serving(write_timeout=0.2) as (served, port):
        with closing(await ask(port, "/small")) as idle, closing(await ask(port, "/large")):
            await eventually(lambda: served.connections.stalled == 1)
            loop = asyncio.get_running_loop()
            assert (await loop.sock_recv(idle, 65536)).endswith(b"small")
            await loop.sock_sendall(idle, b"GET /small HTTP/1.1\r\nHost: here\r\n\r\n")
            assert (await loop.sock_recv(idle, 65536)).endswith(b"small")


async def test_one_more_than_there_may_be_is_told_and_closed() -> None:
    async with serving(max_connections=2) as (served, port):
        loop = asyncio.get_running_loop()
        with closing(await ask(port, "/small")) as first, closing(await ask(port, "/small")) as second:
            for client in (first, second):
                assert (await loop.sock_recv(client, 65536)).endswith(b"small")
            with closing(socket.socket()) as third:
                third.setblocking(False)
                await loop.sock_connect(third, ("127.0.0.1", port))
                head, _, body = (await read_all(third)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1" in head
            assert b'"status":503' in body
            assert f"\r\nContent-Length: {len(body)}".encode() in head
            await eventually(lambda: len(served.connections) == 2)
        await eventually(lambda: len(served.connections) == 0)
        with closing(await ask(port, "/small")) as again:
            assert (await loop.sock_recv(again, 65536)).startswith(b"HTTP/1.1 200 ")
        assert served.connections.describe()["refused"] == 1


@pytest.mark.parametrize(
    ("granted", "most", "room"),
    [
        (100_000, 100_000, 1000),
        (256, 100_000, 1000),  # raised
        (256, 1300, 1000),
        (256, 1250, 950),
        (400, 400, 200),  # never less than half
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1000),
        (256, resource.RLIM_INFINITY, 1000),
    ],
)
def test_connections_are_as_many_as_the_system_grants(
    monkeypatch: pytest.MonkeyPatch, granted: int, most: int, room: int
) -> None:
    now: list[tuple[int, int]] = [(granted, most)]
    set_: Callable[[int, tuple[int, int]], None] = lambda _, pair: now.append(pair)  # noqa: E731
    monkeypatch.setattr(resource, "getrlimit", lambda _: now[-1])
    monkeypatch.setattr(resource, "setrlimit", set_)
    assert room_for(1000, 300) == room
    assert now[-1][1] == most


async def test_a_head_that_never_ends_is_closed_however_it_drips() -> None:
    async with serving(header_timeout=0.4) as (served, port):
        silent, dripping = socket.socket(), socket.socket()
        with closing(silent), closing(dripping):
            loop = asyncio.get_running_loop()
            for client in (silent, dripping):
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(dripping, b"GET /small HTTP/1.1\r\nHost: here\r\n")

            async def drip() -> bool:
                with suppress(OSError):
                    await loop.sock_sendall(dripping, b"X-A: b\r\n")
                return served.connections.headless == 2

            await eventually(drip)
            await eventually(lambda: len(served.connections) == 0)


async def test_the_second_head_of_a_connection_is_watched_too() -> None:
    async with serving(header_timeout=0.4) as (served, port):
        with closing(await ask(port, "/small")) as client:
            loop = asyncio.get_running_loop()
            await loop.sock_recv(client, 65536)
            await loop.sock_sendall(client, b"GET /small HT")
            assert await loop.sock_recv(client, 65536) == b""
            assert served.connections.headless == 1


async def test_who_is_between_two_requests_or_sends_a_body_is_no_slow_head() -> None:
    async with serving(header_timeout=0.2) as (served, port):
        loop = asyncio.get_running_loop()
        upload = await ask(port, "/small")  # kept open, says nothing more
        posting = socket.socket()
        with closing(upload), closing(posting):
            posting.setblocking(False)
            await loop.sock_connect(posting, ("127.0.0.1", port))
            await loop.sock_sendall(posting, b"POST /body HTTP/1.1\r\nHost: here\r\nContent-Length: 12\r\n\r\n")
            answered = loop.create_task(loop.sock_recv(posting, 65536))
            for _ in range(12):
                await asyncio.sleep(0.05)  # longer than a head may take, all in all
                await loop.sock_sendall(posting, b"x")
            assert b"200 OK" in await answered
            await loop.sock_recv(upload, 65536)
            await loop.sock_sendall(upload, b"GET /small HTTP/1.1\r\nHost: here\r\n\r\n")
            assert b"200 OK" in await loop.sock_recv(upload, 65536)
        assert served.connections.headless == 0
