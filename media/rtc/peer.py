"""One session with one other side: ICE, DTLS and SRTP, and who is told of what comes.

A Peer is made by RtcPort.peer, and dies when `close` is called, the other side says good-bye, or nothing proven was
heard for RTC_CONSENT_TIMEOUT (RFC 7675). It has no task; what it has in the port's tables goes with it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from media.protocols.stun import StunMessage
from media.rtc.dtls import DIGESTS, Dtls, Identity
from media.rtc.ice import Agent, Checked
from media.rtc.options import Address, Handler, IceDtlsParameters
from media.rtc.srtp import AUTHENTICATION_FAILED, REPLAYED, SLOTS, Srtp, SrtpRefused

if TYPE_CHECKING:
    from media.rtc.port import RtcPort

log = logging.getLogger(__name__)

Packet = bytes | bytearray
HANDSHAKE = 22
"""The first byte of a DTLS hello."""
WORTH_A_RUN = 3
"""Two packets are sent quicker one by one than as a run."""


class Peer:
    """remote: what the other side said, None before `connect`. heard: when something proven came from it."""

    def __init__(self, port: RtcPort, handler: Handler, identity: Identity, name: str, now: float) -> None:
        self.name = name
        self.agent = Agent(port.options.rtc_paths_per_peer)
        self.remote: IceDtlsParameters | None = None
        self.heard = now
        self.closed = False
        self.received_packets = self.received_bytes = 0
        self.sent_packets = self.sent_bytes = 0
        self.refused = {"forged": 0, "replayed": 0, "malformed": 0, "early": 0, "sources": 0}
        self.unsent = 0
        self._port = port
        self._handler = handler
        self._identity = identity
        self._created = now
        self._active = False
        self._dtls: Dtls | None = None
        self._srtp: Srtp | None = None
        self._address: Address | None = None
        self._sources: set[bytes] = set()

    @property
    def local(self) -> IceDtlsParameters:
        """What to tell the other side. Before `connect`, setup is what an answer to an offer says: passive."""
        return IceDtlsParameters(
            ufrag=self.agent.local.ufrag,
            pwd=self.agent.local.pwd,
            fingerprints=self._identity.fingerprints,
            setup="active" if self._active else "passive",
        )

    @property
    def connected(self) -> bool:
        return self._srtp is not None

    @property
    def remote_address(self) -> tuple[str, int] | None:
        """Where packets go now."""
        if self._address is None:
            return None
        return self._address[0].removeprefix("::ffff:"), self._address[1]

    def connect(self, remote: IceDtlsParameters) -> None:
        """Let the other side come; on_connected or on_closed tells how it went.

        Raises ValueError, with a sentence, for what cannot be. We are the passive side but when the other one is.
        """
        if self.remote is not None:
            raise ValueError("The peer has its parameters already.")
        if remote.setup not in ("active", "passive", "actpass"):
            raise ValueError(f"a=setup:{remote.setup} is not understood: active, passive or actpass.")
        if not any(algorithm.lower() in DIGESTS for algorithm, _ in remote.fingerprints):
            raise ValueError("There has to be an a=fingerprint of sha-256, sha-384 or sha-512.")
        self.remote = remote
        self._active = remote.setup == "passive"
        self.go_on()

    def restart_ice(self, ufrag: str, pwd: str) -> tuple[str, str]:
        """The other side begins anew with these. Returns our new ufrag and password; until it has nominated a path
        with them, the one that there is carries on."""
        if self.remote is not None:
            self.remote = IceDtlsParameters(
                ufrag=ufrag, pwd=pwd, fingerprints=self.remote.fingerprints, setup=self.remote.setup
            )
        before = set(self.agent.known)
        self.agent.restart()
        self._port.named(self, before)
        return self.agent.local.ufrag, self.agent.local.pwd

    def close(self, reason: str = "The server closed the session.") -> None:
        """Says good-bye and leaves nothing behind. Nothing happens the second time."""
        if self.closed:
            return
        self.closed = True
        if self._dtls is not None:
            self._dtls.close()
            self._dtls = None  # the two hold each other: gone at once, not at the next collection
        self._srtp = None
        self._port.forget(self)
        self._port.soon(self._handler.on_closed, reason)

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "connected": self.connected,
            "paths": len(self.agent.paths),
            "restarts": self.agent.restarts,
            "received_packets": self.received_packets,
            "received_bytes": self.received_bytes,
            "sent_packets": self.sent_packets,
            "sent_bytes": self.sent_bytes,
            "unsent": self.unsent,
            "refused": dict(self.refused),
        }

    def packets(self) -> dict[str, int]:
        """By what became of them."""
        return {"received": self.received_packets, "sent": self.sent_packets, "unsent": self.unsent, **self.refused}

    # sending

    def send_rtp(self, packet: Packet) -> None:
        """Protect and send. What cannot be sent now is dropped and counted: media waits for nobody."""
        srtp, address = self._srtp, self._address
        if srtp is None or address is None:
            self.unsent += 1
            return
        port = self._port
        try:
            size = port.sendto(srtp.protect(packet, port.slots), address)
        except (SrtpRefused, ValueError):
            self.unsent += 1
            return
        except OSError as error:
            port.not_sent(error)
            self.unsent += 1
            return
        self.sent_packets += 1
        self.sent_bytes += size

    def send_rtp_batch(self, packets: Sequence[bytes]) -> None:
        """The same for several at once, in their order. Runs of packets of one size, the last of which may be
        shorter, are one call of the kernel."""
        count, port, srtp = len(packets), self._port, self._srtp
        if count < WORTH_A_RUN or srtp is None or not srtp.growth or not port.segments:
            for packet in packets:
                self.send_rtp(packet)
            return
        sizes = list(map(len, packets))
        size, last = sizes[0], sizes[-1]
        same = sizes.count(size) == count - (last < size)
        if same and count <= SLOTS and count * size <= port.run_bytes:  # nearly always: a frame is one run
            self._send_run(srtp, packets, size, last)
            return
        start = 0
        while start < count:
            size = sizes[start]
            end = start + 1
            most = min(count, start + SLOTS, start + port.run_bytes // (size + 1))
            while end < most and sizes[end] == size:
                end += 1
            if end < most and sizes[end] < size:
                end += 1
            if end - start < WORTH_A_RUN:
                for packet in packets[start:end]:
                    self.send_rtp(packet)
            else:
                self._send_run(srtp, packets[start:end], size, sizes[end - 1])
            start = end

    def _send_run(self, srtp: Srtp, packets: Sequence[bytes], size: int, last: int) -> None:
        address, port, count = self._address, self._port, len(packets)
        if address is None:
            self.unsent += count
            return
        try:
            run = srtp.protect_run(packets, size, last, port.slots)
        except (SrtpRefused, ValueError):
            self.unsent += count
            return
        sent, went = port.send_run(run, size + srtp.growth, address)
        self.sent_packets += sent
        self.sent_bytes += went
        self.unsent += count - sent

    def send_rtcp(self, packet: bytes) -> None:
        srtp, address = self._srtp, self._address
        if srtp is None or address is None:
            self.unsent += 1
            return
        try:
            self._port.sendto(srtp.protect_rtcp(packet, self._port.slots), address)
        except (SrtpRefused, ValueError):
            self.unsent += 1
        except OSError as error:
            self._port.not_sent(error)
            self.unsent += 1

    # what the port hands over

    def on_check(self, request: StunMessage, address: Address, now: float) -> Checked:
        """A binding request that names this peer."""
        before = set(self.agent.known) if len(self.agent.known) > 1 else None
        checked = self.agent.check(request, address, now)
        if checked.proven:
            self.heard = now
            if checked.moved or self._address is None:
                self._address = self.agent.selected.address if self.agent.selected is not None else address
            if before is not None:
                self._port.named(self, before)
        return checked

    def go_on(self) -> None:
        """A check was answered: if the handshake is ours to begin, it begins."""
        if self._active and self._dtls is None:
            self._begin()

    def lose(self, address: Address) -> None:
        """Another peer proved to be there."""
        self.agent.lose(address)
        if self._address == address:
            path = max(self.agent.paths.values(), key=lambda path: path.heard, default=None)
            self._address = path.address if path is not None else None

    def on_datagram(self, datagram: bytes, address: Address, now: float) -> None:
        """Anything but STUN, from an address that proved to be this peer's."""
        first = datagram[0]
        if 127 < first < 192:
            self._on_srtp(datagram, now)
        elif 19 < first < 64:
            self._on_dtls(datagram, address)

    def on_tick(self, now: float) -> None:
        options = self._port.options
        if self._srtp is None:
            if now - self._created > options.rtc_connect_timeout:
                self.close(f"The connection did not come about within {options.rtc_connect_timeout:g} s.")
            else:
                self.go_on()
        elif now - self.heard > options.rtc_consent_timeout:
            self.close(f"Nothing was heard of the other side for {options.rtc_consent_timeout:g} s.")

    def _on_srtp(self, datagram: bytes, now: float) -> None:
        srtp = self._srtp
        if srtp is None:
            self.refused["early"] += 1
            return
        if len(datagram) < 12:
            self.refused["malformed"] += 1
            return
        rtcp = 191 < datagram[1] < 224  # RFC 5761, 4
        source = datagram[4:8] if rtcp else datagram[8:12]
        sources = self._sources
        known = source in sources
        if not known and len(sources) >= self._port.options.rtc_sources_per_peer:
            self.refused["sources"] += 1  # libsrtp keeps a state for each, and for ever
            return
        try:
            packet = srtp.unprotect(datagram, self._port.slots, rtcp=rtcp)
        except SrtpRefused as refused:
            if refused.code == AUTHENTICATION_FAILED:
                self.refused["forged"] += 1
            elif refused.code in REPLAYED:
                self.refused["replayed"] += 1
            else:
                self.refused["malformed"] += 1
            return
        if not known:
            sources.add(source)
        self.heard = now
        self.received_packets += 1
        self.received_bytes += len(packet)
        if rtcp:
            self._handler.on_rtcp(packet)
        else:
            self._handler.on_rtp(packet, now)

    def _on_dtls(self, datagram: bytes, address: Address) -> None:
        if self.agent.selected is None:
            self._address = address  # nominated or not, that is where it wants its answer
        if self._dtls is None and not self._active and datagram[0] == HANDSHAKE:
            self._begin()
        if self._dtls is not None:
            self._dtls.receive(datagram)

    def _begin(self) -> None:
        """The handshake: when the other side is known and can be reached, and not too many are under way."""
        if self.remote is None or self._address is None or self.closed:
            return
        if self._active and self.agent.selected is None:
            return
        if not self._port.may_shake_hands(self):
            return  # the other side says it again; of ours the next tick thinks
        self._dtls = Dtls(
            self._identity,
            active=self._active,
            fingerprints=self.remote.fingerprints,
            send=self._send_dtls,
            on_connected=self._on_connected,
            on_closed=self.close,
        )
        self._dtls.begin()

    def _send_dtls(self, datagram: bytes) -> None:
        if self._address is not None and datagram:
            try:
                self._port.sendto(datagram, self._address)
            except OSError as error:
                self._port.not_sent(error)

    def _on_connected(self) -> None:
        assert self._dtls is not None
        self._port.shook_hands(self)
        self._srtp = self._dtls.srtp
        log.debug("webrtc %s: connected", self.name)
        self._handler.on_connected()
