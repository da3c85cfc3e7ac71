"""What media/rtc rests on that aiortc and pylibsrtp do not promise.

When one of these fails after an upgrade, media/rtc/dtls.py and srtp.py are to be looked at before anything else:
docs/decisions/0009 says what they take, and why.
"""

from __future__ import annotations

import contextlib
import inspect
from importlib.metadata import requires, version

import pylibsrtp
import pytest
from aiortc import rtcdtlstransport as seam
from OpenSSL import SSL

from media.rtc.dtls import PROFILES, Identity


def test_the_version_is_the_one_it_was_written_for() -> None:
    assert version("aiortc").startswith("1.16."), "look at media/rtc/dtls.py, then at this test"
    assert "pylibsrtp>=0.10.0" in " ".join(requires("aiortc") or []).replace(" ", "")


@pytest.mark.parametrize("name", ["_validate_peer_identity", "_setup_srtp", "_set_role", "_set_state"])
def test_the_private_methods_are_there_and_do_not_wait(name: str) -> None:
    method = getattr(seam.RTCDtlsTransport, name, None)
    assert callable(method), f"RTCDtlsTransport.{name} is gone"
    assert not inspect.iscoroutinefunction(method), f"RTCDtlsTransport.{name} has to be awaited now"


def test_the_transport_starts_without_ice_and_keeps_what_is_set() -> None:
    transport = seam.RTCDtlsTransport(None, [seam.RTCCertificate.generateCertificate()])  # type: ignore[arg-type]
    for name in ("_ssl", "_rx_srtp", "_tx_srtp", "_srtp_profiles", "_state", "_role", "_task"):
        assert name in vars(transport), f"RTCDtlsTransport.{name} is gone"
    assert transport._state is seam.State.NEW
    assert {state.name for state in seam.State} == {"NEW", "CONNECTING", "CONNECTED", "CLOSED", "FAILED"}


def test_two_handshakes_agree_on_keys_without_a_loop() -> None:
    """The whole seam by hand: two certificates, two transports, and SRTP from one to the other."""
    ends = []
    for role in ("server", "client"):
        identity = Identity()
        transport = seam.RTCDtlsTransport(None, [identity.certificate])  # type: ignore[arg-type]
        transport._srtp_profiles = PROFILES
        transport._set_role(role)
        transport._ssl = SSL.Connection(identity.context)
        (transport._ssl.set_accept_state if role == "server" else transport._ssl.set_connect_state)()
        transport._set_state(seam.State.CONNECTING)
        ends.append((transport, identity))
    done = set()
    for turn in range(12):
        one, other = ends[(turn + 1) % 2][0], ends[turn % 2][0]
        try:
            one._ssl.do_handshake()
            done.add(one)
        except SSL.WantReadError:
            pass
        with contextlib.suppress(SSL.WantReadError):
            other._ssl.bio_write(one._ssl.bio_read(65536))
    assert len(done) == 2
    for (transport, _), (_, theirs) in zip(ends, reversed(ends), strict=True):
        transport._validate_peer_identity(seam.RTCDtlsParameters(theirs.certificate.getFingerprints()))
        assert transport._state is seam.State.CONNECTING, "the right fingerprint is not taken"
        transport._setup_srtp()
        assert transport._state is seam.State.CONNECTING, "no SRTP profile was agreed on"
        wrong = seam.RTCDtlsFingerprint("sha-256", "AB:" * 31 + "AB")
        transport._validate_peer_identity(seam.RTCDtlsParameters([wrong]))
        assert transport._state is seam.State.FAILED, "a wrong fingerprint is taken"
    packet = bytes((0x80, 96)) + bytes(50)
    assert ends[1][0]._rx_srtp.unprotect(ends[0][0]._tx_srtp.protect(packet)) == packet
    assert len(ends[0][0]._tx_srtp.protect(packet)) == len(packet) + 16, "AES-GCM was there, and is not preferred"


@pytest.mark.parametrize("name", ["srtp_protect", "srtp_protect_rtcp", "srtp_unprotect", "srtp_unprotect_rtcp"])
def test_libsrtp_works_in_place(name: str) -> None:
    function = getattr(pylibsrtp.lib, name, None)
    assert function is not None, f"pylibsrtp.lib.{name} is gone"
    kinds = [kind.cname for kind in pylibsrtp.ffi.typeof(function).args]
    assert len(kinds) == 3, f"{name} takes {kinds}: libsrtp 3 takes another buffer to write to"
    assert kinds[2] == "int *"


def test_the_session_shows_its_handle() -> None:
    policy = pylibsrtp.Policy(key=bytes(30), ssrc_type=pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    session = pylibsrtp.Session(policy)
    assert pylibsrtp.ffi.typeof(session._srtp).kind == "pointer"
    assert [pylibsrtp.ERRORS[code] for code in (7, 9, 10)] == [
        "authentication failure",
        "replay check failed (bad index)",
        "replay check failed (index too old)",
    ]
