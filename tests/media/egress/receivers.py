"""Viewers on the loopback that cost little: one socket, one STUN check, our own DTLS as its active side, no decoder.

A Receiver lives until `close`. What it gets is decrypted and kept; what it says goes through its real session.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket

from aiortc.rtcdtlstransport import State
from pylibsrtp import Error as SrtpError

from media.egress.programme import Programmes
from media.egress.whep import Viewer
from media.protocols import stun
from media.protocols.rtp import packet as rtp
from media.rtc.dtls import Dtls, Identity
from media.rtc.options import IceDtlsParameters
from media.rtc.peer import Peer
from media.rtc.port import RtcPort


class Receiver:
    def __init__(self, identity: Identity, peer: Peer, port: RtcPort) -> None:
        self.packets: list[rtp.RtpPacket] = []
        self.rtcp: list[bytes] = []
        self.closed = ""
        self.peer = peer
        self._port = port
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(("127.0.0.1", port.port))
        self._dtls = Dtls(
            identity,
            active=True,
            fingerprints=peer.local.fingerprints,
            send=self.say,
            on_connected=lambda: None,
            on_closed=self._on_closed,
        )

    @staticmethod
    def parameters(identity: Identity) -> IceDtlsParameters:
        return IceDtlsParameters(ufrag="them", pwd="x" * 22, fingerprints=identity.fingerprints, setup="active")

    @property
    def connected(self) -> bool:
        return self._dtls.connected

    def start(self) -> None:
        self.go_on()
        local = self.peer.agent.local
        attributes = [
            (stun.USERNAME, f"{local.ufrag}:them".encode()),
            (stun.PRIORITY, (1 << 31).to_bytes(4, "big")),
            (stun.ICE_CONTROLLING, bytes(8)),
            (stun.USE_CANDIDATE, b""),
        ]
        self.say(stun.build(stun.BINDING_REQUEST, secrets.token_bytes(12), attributes, key=local.pwd.encode()))

    def hang(self) -> None:
        """Read no more; the kernel throws away what its buffer does not hold."""
        asyncio.get_running_loop().remove_reader(self._socket)

    def go_on(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)
        self._on_readable()

    def close(self) -> None:
        """Without a word, as a lost network."""
        if self._socket.fileno() >= 0:
            self.hang()
            self._dtls._stop_timer()
            self._socket.close()

    def say(self, datagram: bytes) -> None:
        """As it is: the other side may take it for what it wants."""
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            self._socket.send(datagram)

    def protected(self, packet: bytes) -> bytes:
        """By the session's own keys. Empty for what libsrtp does not take for a packet."""
        try:
            if 191 < packet[1] < 224:
                return bytes(self._dtls._tx_srtp.protect_rtcp(packet))
            return bytes(self._dtls._tx_srtp.protect(packet))
        except SrtpError:
            return b""

    def numbers(self, ssrc: int) -> list[int]:
        """Sequence numbers since the first, unwrapped; gaps and repeats show."""
        found = [packet.sequence for packet in self.packets if packet.ssrc == ssrc]
        return [(number - found[0]) & 0xFFFF for number in found]

    def _on_readable(self) -> None:
        while True:
            try:
                datagram = self._socket.recv(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            first = datagram[0]
            if first < 4:
                if self._dtls._state is State.NEW:
                    self._dtls.begin()
            elif first < 64:
                self._dtls.receive(datagram)
            elif 191 < datagram[1] < 224:
                self.rtcp.append(bytes(self._dtls._rx_srtp.unprotect_rtcp(datagram)))
            else:
                self.packets.append(rtp.parse(bytes(self._dtls._rx_srtp.unprotect(datagram))))

    def _on_closed(self, reason: str) -> None:
        self.closed = reason


class Hall:
    """A port of the server and the receivers of one broadcast."""

    def __init__(self, port: RtcPort, programmes: Programmes) -> None:
        self.port = port
        self.programmes = programmes
        self.identity = Identity()
        self.receivers: list[Receiver] = []

    def receiver(self, viewer: Viewer) -> Receiver:
        peer = self.port.peer(viewer, name="a viewer")
        viewer.attach(peer)
        peer.connect(Receiver.parameters(self.identity))
        receiver = Receiver(self.identity, peer, self.port)
        self.receivers.append(receiver)
        receiver.start()
        return receiver

    async def close(self) -> None:
        self.programmes.close()
        await self.port.close()
        for receiver in self.receivers:
            receiver.close()
