"""The seam on aiortc: its DTLS and SRTP, driven by datagrams instead of by a task.

Of RTCDtlsTransport (aiortc 1.16) we take the certificate, the check of the peer's fingerprints and the SRTP keys; the
handshake is stepped here, when a datagram comes or OpenSSL's timer runs out. So a peer has no task and no queue that
could be left behind. One step costs some 0.3 ms, which is why they are taken on the loop.
tests/media/rtc/test_seam.py names every private thing that this file rests on.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import Callable
from typing import Any, cast

from aiortc.rtcdtlstransport import (
    SRTP_AEAD_AES_128_GCM,
    SRTP_AES128_CM_SHA1_80,
    SRTP_PROFILES,
    X509_DIGEST_ALGORITHMS,
    RTCCertificate,
    RTCDtlsFingerprint,
    RTCDtlsParameters,
    RTCDtlsTransport,
    State,
)
from OpenSSL import SSL

from media.rtc.srtp import Srtp

MTU = 1200
DIGESTS = frozenset(X509_DIGEST_ALGORITHMS)
MAX_HANDSHAKE_DATAGRAMS = 256
RENEW_BEFORE = datetime.timedelta(days=2)

PROFILES = [profile for profile in (SRTP_AEAD_AES_128_GCM, SRTP_AES128_CM_SHA1_80) if profile in SRTP_PROFILES]
"""In our order: GCM costs a third less than counter mode with SHA-1 where libsrtp was built with it."""


class Identity:
    """The certificate that all peers of a process show, and what OpenSSL makes of it. Making one takes some ms."""

    def __init__(self) -> None:
        self.certificate = RTCCertificate.generateCertificate()
        self.context = self.certificate._create_ssl_context(srtp_profiles=PROFILES)
        self.context.set_options(SSL.OP_NO_RENEGOTIATION)
        self.fingerprints = tuple(
            (print_.algorithm, print_.value)
            for print_ in self.certificate.getFingerprints()
            if print_.algorithm == "sha-256"
        )

    @property
    def stale(self) -> bool:
        """Peers that come from now on are better shown a new one."""
        return self.certificate.expires - datetime.datetime.now(datetime.UTC) < RENEW_BEFORE


class Dtls(RTCDtlsTransport):
    """One association. `send` takes datagrams; `on_connected` and `on_closed(reason)` are called once each.

    After on_connected, `srtp` is there.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        active: bool,
        fingerprints: tuple[tuple[str, str], ...],
        send: Callable[[bytes], None],
        on_connected: Callable[[], None],
        on_closed: Callable[[str], None],
    ) -> None:
        super().__init__(cast(Any, None), [identity.certificate])
        self.srtp: Srtp | None = None
        self._srtp_profiles = PROFILES
        self._set_role("client" if active else "server")
        self._remote = RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value) for algorithm, value in fingerprints])
        self._connection = SSL.Connection(identity.context)
        self._connection.set_ciphertext_mtu(MTU)
        if active:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._ssl = self._connection
        self._send_datagram = send
        self._on_connected = on_connected
        self._on_closed = on_closed
        self._timer: asyncio.TimerHandle | None = None
        self._datagrams = 0

    @property
    def connected(self) -> bool:
        return self._state is State.CONNECTED

    def begin(self) -> None:
        """Start: the active side sends its hello."""
        self._set_state(State.CONNECTING)
        self._step()

    def receive(self, datagram: bytes) -> None:
        if self._state is State.CONNECTING:
            self._datagrams += 1
            if self._datagrams > MAX_HANDSHAKE_DATAGRAMS:
                self._fail("The DTLS handshake came to no end.")
                return
            self._connection.bio_write(datagram)
            self._step()
        elif self._state is State.CONNECTED:
            self._connection.bio_write(datagram)
            try:
                while True:
                    self._connection.recv(MTU)  # alerts and repeated handshakes are of interest: no data channels here
            except SSL.ZeroReturnError:
                self._end("The other side closed the connection.")
                return
            except SSL.WantReadError:
                pass
            except SSL.Error:
                self._end("The DTLS connection failed.")
                return
            self._flush()

    def close(self) -> None:
        """Says good-bye when there is somebody to say it to. No callback comes after this."""
        self._stop_timer()
        if self._state is State.CONNECTED:
            with contextlib.suppress(SSL.Error):
                self._connection.shutdown()
            self._flush()
        self._set_state(State.CLOSED)

    def _step(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            self._start_timer()
            return
        except SSL.Error:
            self._fail("The DTLS handshake failed.")
            return
        self._stop_timer()
        self._flush()
        self._validate_peer_identity(self._remote)
        if self._state is State.CONNECTING:
            self._setup_srtp()
        if self._state is not State.CONNECTING:  # these two say no by the state
            self._fail("The DTLS certificate is not the one of the SDP, or no SRTP profile is shared.")
            return
        self.encrypted = True
        self.srtp = Srtp(self._rx_srtp, self._tx_srtp)
        self._set_state(State.CONNECTED)
        self._on_connected()

    def _fail(self, reason: str) -> None:
        self._flush()  # the alert that says so
        self._stop_timer()
        self._set_state(State.FAILED)
        self._on_closed(reason)

    def _end(self, reason: str) -> None:
        self._flush()
        self._set_state(State.CLOSED)
        self._on_closed(reason)

    def _flush(self) -> None:
        """OpenSSL writes a flight as one run of records; a datagram takes as many whole ones as it holds."""
        try:
            flight = self._connection.bio_read(65536)
        except SSL.Error:
            return
        start = at = 0
        while at + 13 <= len(flight):
            end = at + 13 + int.from_bytes(flight[at + 11 : at + 13], "big")
            if end - start > MTU and at > start:
                self._send_datagram(flight[start:at])
                start = at
            at = end
        self._send_datagram(flight[start:])

    def _start_timer(self) -> None:
        self._stop_timer()
        timeout = self._connection.DTLSv1_get_timeout()
        if timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._again)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self._timer = None
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._fail("The DTLS handshake got no answer.")
            return
        self._flush()
        self._start_timer()
