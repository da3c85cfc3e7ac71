"""Sockets that read what comes and throw it away: who the floor sends to.

`python -m bench.peers.rtc_sink N` says `ready PORT,PORT…` and reads until it is ended.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import uvloop

BUFFER = 1 << 20


def opened(place: bytearray) -> socket.socket:
    """One that reads all that there is whenever there is something, as viewers do."""
    sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sink.setblocking(False)
    sink.bind(("127.0.0.1", 0))

    def read() -> None:
        try:
            while True:
                sink.recv_into(place)
        except BlockingIOError:
            pass

    asyncio.get_running_loop().add_reader(sink, read)
    return sink


async def main(count: int) -> None:
    place = bytearray(2048)
    sinks = [opened(place) for _ in range(count)]
    sys.stdout.write(f"ready {','.join(str(sink.getsockname()[1]) for sink in sinks)}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
