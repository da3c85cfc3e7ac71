"""A peer against aiortc: its ICE agent controls and nominates, its DTLS shakes hands, RTP and RTCP go both ways."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from media.rtc.options import RtcOptions
from media.rtc.peer import Peer
from media.rtc.port import RtcPort
from tests.media.rtc.remote import Handler, Remote, options, receiver_report, rtp
from tests.support import eventually


@pytest.fixture
async def port() -> AsyncIterator[RtcPort]:
    port = RtcPort(RtcOptions(**options()))
    await port.start()
    yield port
    await port.close()
    assert port.describe()["peers"] == 0


@pytest.mark.parametrize("setup", ["active", "passive", "actpass"])
async def test_media_goes_both_ways(port: RtcPort, setup: str) -> None:
    handler, remote = Handler(), Remote(setup="passive" if setup == "passive" else "active")
    peer = port.peer(handler, "it")
    theirs = await remote.gather()
    peer.connect(type(theirs)(ufrag=theirs.ufrag, pwd=theirs.pwd, fingerprints=theirs.fingerprints, setup=setup))
    assert peer.local.setup == ("active" if setup == "passive" else "passive")
    try:
        await remote.connect(peer.local, port.candidates())
        assert remote.dtls.state == "connected"
        await eventually(lambda: handler.connected)
        for sequence in range(20):
            await remote.send(rtp(sequence))
        await remote.send(receiver_report())
        await eventually(lambda: len(handler.rtp) == 20 and handler.rtcp)
        assert handler.rtp == [rtp(sequence) for sequence in range(20)]
        assert handler.rtcp == [receiver_report()]

        peer.send_rtp(rtp(1, ssrc=8))
        peer.send_rtp_batch([rtp(sequence, ssrc=8) for sequence in range(2, 12)])
        peer.send_rtcp(receiver_report(8))
        await eventually(lambda: len(remote.dtls.rtp) == 11 and remote.dtls.rtcp)
        assert remote.dtls.rtp == [rtp(sequence, ssrc=8) for sequence in range(1, 12)]
        assert remote.dtls.rtcp == [receiver_report(8)]
        assert peer.remote_address is not None
        assert not any(peer.refused.values())
        assert handler.connected == 1
    finally:
        await remote.close()
    await eventually(lambda: handler.closed)
    assert handler.closed == ["The other side closed the connection."]


async def test_a_peer_that_closes_says_good_bye(port: RtcPort) -> None:
    handler, remote = Handler(), Remote()
    peer: Peer = port.peer(handler, "it")
    peer.connect(await remote.gather())
    try:
        await remote.connect(peer.local, port.candidates())
        await eventually(lambda: handler.connected)
        peer.close("It is over.")
        peer.close("Again.")
        await eventually(lambda: remote.dtls.state == "closed")
        assert handler.closed == ["It is over."]
        peer.send_rtp(rtp(1))
        assert peer.unsent == 1
    finally:
        await remote.close()


async def test_over_ipv6(port: RtcPort) -> None:
    reachable = [line for line in port.candidates() if ":" in line.split()[4] and line.split()[4] != "::1"]
    if not reachable:
        pytest.skip("this machine has no IPv6 address but its own")
    handler, remote = Handler(), Remote()
    peer = port.peer(handler, "it")
    peer.connect(await remote.gather())
    try:
        await remote.connect(peer.local, reachable)
        await remote.send(rtp(1))
        await eventually(lambda: handler.rtp)
        assert peer.remote_address is not None
        assert ":" in peer.remote_address[0]
        peer.send_rtp_batch([rtp(sequence, ssrc=8) for sequence in range(5)])
        await eventually(lambda: len(remote.dtls.rtp) == 5)
    finally:
        await remote.close()
