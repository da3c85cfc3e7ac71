"""The one UDP port of WebRTC: its socket, and who each datagram is for.

RtcPort owns the socket, the tables of peers by ufrag and by address, and the tick that ends the silent ones. A datagram
from an address that proved a peer's password goes to that peer; of strangers only binding requests are read.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from media.protocols import stun
from media.protocols.errors import StunError
from media.rtc.addresses import IpAddress, announced, candidates, machine_addresses
from media.rtc.dtls import Identity
from media.rtc.guard import Guard
from media.rtc.options import Address, CannotServe, Handler, RtcOptions
from media.rtc.peer import Peer
from media.rtc.srtp import Slots

log = logging.getLogger(__name__)

MAX_DATAGRAM = 2048
BURST = 64
"""Datagrams read in one turn of the loop: some 0.5 ms, so that HTTP and RTMP have theirs."""
TICK = 0.5
PATH_IS_HELD = 15.0
"""An address belongs to the peer that was heard from it, unless it was silent there for so long, s."""
LONG_HANDSHAKE = 5.0
"""A handshake that is under way so long is closed when others wait for its place, s."""
ADDRESSES_SECONDS = 10.0
"""The addresses of the machine are looked up again after this: a laptop changes its network, s."""
TIMESTAMPS = 35 if sys.platform == "linux" else 0
"""SO_TIMESTAMPNS: the kernel says when each datagram came. Python has no name for it."""
STAMP = struct.Struct("qq" if struct.calcsize("P") == 8 else "ii")
STAMPS_ROOM = socket.CMSG_SPACE(STAMP.size) if TIMESTAMPS else 0
OLDEST_STAMP = 1.0
"""A datagram that says it waited longer than this came while the wall clock was set, s."""
UDP_SEGMENT = 103
_segment = struct.Struct("=H").pack
RUN_BYTES = 60_000
_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
_NO_SEGMENTS = frozenset({errno.EINVAL, errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP})


class RtcPort:
    def __init__(self, options: RtcOptions) -> None:
        """Raises ValueError, with a sentence for the operator, when PUBLIC_IP or RTC_HOST cannot be."""
        self.options = options
        self.port = 0
        self.slots = Slots()
        self.segments = hasattr(socket.socket, "sendmsg")
        self.run_bytes = RUN_BYTES
        self._addresses = self._look_up()
        self._looked_up = time.monotonic()
        self._identity: Identity | None = None
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tick: asyncio.TimerHandle | None = None
        self._stopping = False
        self._peers: dict[Peer, None] = {}
        self._by_ufrag: dict[str, Peer] = {}
        self._by_address: dict[Address, Peer] = {}
        self._shaking: dict[Peer, float] = {}
        self._guard = Guard(options.rtc_bad_per_address, options.rtc_errors_per_second)
        self.sendto: Callable[[bytes | memoryview, Address], int] = self._nowhere
        self._counts = {
            "strangers": 0,
            "bad_stun": 0,
            "turned_away": 0,
            "handshakes_put_off": 0,
            "refused_peers": 0,
            "dropped": 0,
            "unsendable": 0,
        }
        self._arrived = 0.0
        self._total_peers = 0
        self._gone: Counter[str] = Counter()

    async def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._identity = await asyncio.to_thread(Identity)
        self._socket = _listen(self.options)
        self.port = int(self._socket.getsockname()[1])
        self.sendto = self._socket.sendto
        self._loop.add_reader(self._socket, self._on_readable)
        self._tick = self._loop.call_later(TICK, self._on_tick)

    def stop_accepting(self) -> None:
        """No new peers; those who are here go on until `close`."""
        self._stopping = True

    async def close(self) -> None:
        """Say good-bye to all. When this returns, every handler has heard so."""
        self._stopping = True
        for peer in list(self._peers):
            peer.close("The server is stopping.")
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket)
            self.sendto = self._nowhere
            self._socket.close()
            self._socket = None
            await asyncio.sleep(0)

    def describe(self) -> dict[str, object]:
        buffer = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) if self._socket is not None else 0
        return {
            "port": self.port,
            "addresses": [str(address) for address in self._addresses],
            "peers": len(self._peers),
            "connected": sum(peer.connected for peer in self._peers),
            "handshakes": len(self._shaking),
            "total_peers": self._total_peers,
            "receive_buffer_bytes": buffer,
            "segments": self.segments,
            "packets": self.packets(),
            **self._counts,
        }

    @property
    def count(self) -> int:
        """Peers, connected or not."""
        return len(self._peers)

    def packets(self) -> dict[str, int]:
        """By what became of them, of all peers since the start."""
        total = Counter({"received": 0, "sent": 0, "unsent": 0})
        total.update(self._gone)
        for peer in self._peers:
            total.update(peer.packets())
        return dict(total)

    def candidates(self) -> list[str]:
        """Lines for SDP, as `a=candidate:…`."""
        now = time.monotonic()
        if now - self._looked_up > ADDRESSES_SECONDS:
            self._addresses, self._looked_up = self._look_up(), now
        return candidates(self._addresses, self.port)

    def peer(self, handler: Handler, name: str) -> Peer:
        """A new one; its `local` is what to tell the other side. Raises CannotServe."""
        if self._stopping or self._identity is None:
            self._counts["refused_peers"] += 1
            raise CannotServe("The server is stopping: try again in a moment.")
        if len(self._peers) >= self.options.rtc_max_peers:
            self._counts["refused_peers"] += 1
            raise CannotServe("The server has as many WebRTC sessions as it takes: try again later.")
        if self._identity.stale:
            self._identity = Identity()
        peer = Peer(self, handler, self._identity, name, time.monotonic())
        self._peers[peer] = None
        self._by_ufrag[peer.agent.local.ufrag] = peer
        self._total_peers += 1
        return peer

    def _look_up(self) -> list[IpAddress]:
        return announced(self.options.public_ip, self.options.rtc_host, machine_addresses)

    # what peers ask for

    def named(self, peer: Peer, before: Collection[str]) -> None:
        """The ufrags of a peer were `before`; now they are others."""
        if peer not in self._peers:
            return
        for ufrag in before:
            self._by_ufrag.pop(ufrag, None)
        for ufrag in peer.agent.known:
            self._by_ufrag[ufrag] = peer

    def may_shake_hands(self, peer: Peer) -> bool:
        """Not more than RTC_MAX_HANDSHAKES at once; but one that goes on for long gives way to those who wait."""
        now = time.monotonic()
        if len(self._shaking) >= self.options.rtc_max_handshakes:
            oldest, since = next(iter(self._shaking.items()))
            if now - since < LONG_HANDSHAKE:
                self._counts["handshakes_put_off"] += 1
                return False
            oldest.close("The DTLS handshake took too long.")
        self._shaking[peer] = now
        return True

    def shook_hands(self, peer: Peer) -> None:
        self._shaking.pop(peer, None)

    def forget(self, peer: Peer) -> None:
        if self._peers.pop(peer, True) is None:
            self._gone.update(peer.packets())
        self._shaking.pop(peer, None)
        for ufrag in peer.agent.known:
            self._by_ufrag.pop(ufrag, None)
        for address in peer.agent.paths:
            if self._by_address.get(address) is peer:
                del self._by_address[address]

    def soon(self, call: Callable[[str], None], reason: str) -> None:
        assert self._loop is not None, "not started"
        self._loop.call_soon(call, reason)

    def not_sent(self, error: OSError) -> None:
        self._counts["dropped" if error.errno in _FULL else "unsendable"] += 1

    def send_run(self, run: memoryview, size: int, address: Address) -> tuple[int, int]:
        """Packets of that size, the last maybe shorter, one after the other, in one call. Returns how many went, and
        their bytes."""
        assert self._socket is not None
        count = -(-len(run) // size)
        try:
            return count, self._socket.sendmsg((run,), ((socket.IPPROTO_UDP, UDP_SEGMENT, _segment(size)),), 0, address)
        except OSError as error:
            if error.errno not in _NO_SEGMENTS:
                self._counts["dropped" if error.errno in _FULL else "unsendable"] += count
                return 0, 0
            log.info("webrtc: the kernel does not cut packets (%s): each is sent alone from now on", error.strerror)
            self.segments = False
        sent = went = 0
        for start in range(0, len(run), size):
            try:
                went += self._socket.sendto(run[start : start + size], address)
                sent += 1
            except OSError as error:
                self.not_sent(error)
        return sent, went

    def _nowhere(self, data: bytes | memoryview, address: Address) -> int:
        raise OSError(errno.ENOTCONN, "the port is closed")

    # what comes in

    def _on_readable(self) -> None:
        assert self._socket is not None
        recvmsg, owners, clock = self._socket.recvmsg, self._by_address, time.monotonic
        offset = clock() - time.time()
        for _ in range(BURST):
            try:
                datagram, stamps, _, address = recvmsg(MAX_DATAGRAM, STAMPS_ROOM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._counts["unsendable"] += 1  # of something sent earlier: the answer of a router comes this way
                continue
            peer = owners.get(address)
            if peer is not None and datagram[:1] > b"\x03":
                try:
                    peer.on_datagram(datagram, address, self._arrival(stamps, offset, clock()))
                except Exception:
                    log.exception("webrtc %s: the session failed", peer.name)
                    peer.close("The session failed.")
            elif datagram[:1] < b"\x04":
                self._on_stun(datagram, address, peer, clock())
            else:
                self._counts["strangers"] += 1
            if self._socket is None:  # closed by what came
                return

    def _arrival(self, stamps: Sequence[tuple[int, int, bytes]], offset: float, now: float) -> float:
        """When it came, by time.monotonic(): a loop that is late must not look like a network that is. offset: from the
        wall clock, by which the kernel tells it."""
        if stamps and len(stamps[0][2]) == STAMP.size:
            seconds, nanoseconds = STAMP.unpack(stamps[0][2])
            at = seconds + nanoseconds / 1e9 + offset
            if now - OLDEST_STAMP < at < now:
                now = at
        if now < self._arrived:
            return self._arrived
        self._arrived = now
        return now

    def _on_stun(self, datagram: bytes, address: Address, owner: Peer | None, now: float) -> None:
        if owner is None and self._guard.turned_away(address, now):
            self._counts["turned_away"] += 1
            return
        try:
            request = stun.parse(datagram)
        except StunError:
            self._counts["bad_stun"] += 1
            self._guard.failed(address, now)
            return
        if request.kind != stun.BINDING_REQUEST:
            if request.kind != stun.BINDING_INDICATION:  # which only keep a way through a router open
                self._counts["bad_stun"] += 1
                self._guard.failed(address, now)
            return
        username = request.username
        peer = self._by_ufrag.get(username.partition(":")[0]) if username is not None else None
        if peer is None:
            answer = stun.refusal(request, 400 if username is None else 401)
        elif owner is not None and owner is not peer and now - owner.agent.paths[address].heard < PATH_IS_HELD:
            answer = stun.refusal(request, 401)  # who sends from another's address does not get it by that
        else:
            checked = peer.on_check(request, address, now)
            if checked.proven:
                if owner is not peer:
                    if owner is not None:
                        owner.lose(address)
                    self._by_address[address] = peer
                for dropped in checked.dropped:
                    if self._by_address.get(dropped) is peer:
                        del self._by_address[dropped]
                self._answer(checked.answer, address)
                peer.go_on()
                return
            answer = checked.answer
        self._counts["bad_stun"] += 1
        if self._guard.failed(address, now):
            self._answer(answer, address)

    def _answer(self, answer: bytes, address: Address) -> None:
        try:
            self.sendto(answer, address)
        except OSError as error:
            self.not_sent(error)

    def _on_tick(self) -> None:
        assert self._loop is not None
        self._tick = self._loop.call_later(TICK, self._on_tick)
        now = time.monotonic()
        for peer in list(self._peers):
            try:
                peer.on_tick(now)
            except Exception:
                log.exception("webrtc %s: the session failed", peer.name)
                peer.close("The session failed.")


def _listen(options: RtcOptions) -> socket.socket:
    """For IPv4 and IPv6 in one where RTC_HOST does not say which. Raises OSError."""
    host = options.rtc_host
    if not host and socket.has_dualstack_ipv6():
        try:
            return _bound("::", options, only=False)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # IPv6 is there, but turned off
                raise
    return _bound(host or "0.0.0.0", options, only=host != "::")


def _bound(host: str, options: RtcOptions, *, only: bool) -> socket.socket:
    """only: an IPv6 socket takes no IPv4."""
    found = socket.getaddrinfo(host, options.rtc_port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)
    family, where = found[0][0], found[0][4]
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            sock.setsockopt(socket.SOL_SOCKET, name, options.rtc_socket_buffer)
        if TIMESTAMPS:
            sock.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        sock.setblocking(False)
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock
