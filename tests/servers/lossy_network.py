"""A network that loses and swaps datagrams, between WebRTC's port and those who talk with it.

It is a UDP port that passes on what it gets, both ways, each client by a socket of its own. Handshakes and checks
(STUN, DTLS) go through, as they are repeated until they do; of media and its reports, shares are lost or come later.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

HELD_MOST = 0.03
"""A datagram that is to come after the next one waits no longer than this, s."""


class _Way:
    """One direction of one client."""

    def __init__(self, network: LossyNetwork, send: Any) -> None:
        self.network = network
        self.send = send
        self.held: bytes | None = None

    def carry(self, data: bytes) -> None:
        network, chance = self.network, self.network.chance
        if not 127 < data[0] < 192:
            self.send(data)
            return
        if chance.random() < network.lose:
            network.counts["lost"] += 1
            return
        if self.held is None and chance.random() < network.swap:
            network.counts["swapped"] += 1
            self.held = data
            asyncio.get_running_loop().call_later(HELD_MOST, self.release)
            return
        network.counts["passed"] += 1
        self.send(data)
        self.release()

    def release(self) -> None:
        held, self.held = self.held, None
        if held is not None:
            self.send(held)


class _Client(asyncio.DatagramProtocol):
    """What the server sees of one client."""

    def __init__(self, network: LossyNetwork, address: Any) -> None:
        self.up = _Way(network, self._send)
        self.down = _Way(network, lambda data: network.transport.sendto(data, address))

    def _send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.sendto(data)

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.down.carry(data)


class LossyNetwork(asyncio.DatagramProtocol):
    """lose, swap: shares of the datagrams each way. `port` is where the server seems to be."""

    def __init__(self, *, lose: float, swap: float) -> None:
        self.lose = lose
        self.swap = swap
        self.chance = random.Random(7)
        self.counts: Counter[str] = Counter()
        self.port = self.server = 0
        self._clients: dict[Any, _Client] = {}
        self._early: dict[Any, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, server: int) -> None:
        """server: the UDP port of the real one."""
        self.server = server
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self.transport.get_extra_info("sockname")[1]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for client in self._clients.values():
            client.transport.close()
        self.transport.close()

    def datagram_received(self, data: bytes, address: Any) -> None:
        client = self._clients.get(address)
        if client is not None:
            client.up.carry(data)
            return
        known = address in self._early
        self._early.setdefault(address, []).append(data)
        if not known:
            task = asyncio.get_running_loop().create_task(self._welcome(address))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _welcome(self, address: Any) -> None:
        loop = asyncio.get_running_loop()
        _, client = await loop.create_datagram_endpoint(
            lambda: _Client(self, address), remote_addr=("127.0.0.1", self.server)
        )
        self._clients[address] = client
        for data in self._early.pop(address):
            client.up.carry(data)


def through(answer: str, port: int) -> str:
    """An answer (SDP) whose only candidate is that port of this machine."""
    lines = [line for line in answer.splitlines() if not line.startswith("a=candidate:")]
    candidate = f"a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"
    told = [part for line in lines for part in ((candidate, line) if line == "a=end-of-candidates" else (line,))]
    return "\r\n".join(told) + "\r\n"
