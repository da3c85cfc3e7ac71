"""The port among strangers: what they cost, and that nobody else notices. Addresses, restarts, ends."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import socket
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from media.protocols import stun
from media.rtc.options import CannotServe, IceDtlsParameters, RtcOptions
from media.rtc.peer import Peer
from media.rtc.port import RtcPort
from tests.media.rtc.remote import Handler, Remote, options, receiver_report, rtp
from tests.support import eventually

SOMEBODY = IceDtlsParameters(ufrag="them", pwd="p" * 24, fingerprints=(("sha-256", "AB:" * 31 + "AB"),))


async def opened(**other: object) -> RtcPort:
    port = RtcPort(RtcOptions(**options(**other)))
    await port.start()
    return port


@pytest.fixture
async def port() -> AsyncIterator[RtcPort]:
    port = await opened()
    yield port
    await port.close()


class Session:
    """A peer and its other side, connected."""

    def __init__(self, port: RtcPort) -> None:
        self.port = port
        self.handler = Handler()
        self.remote = Remote()
        self.peer: Peer = port.peer(self.handler, "it")

    async def __aenter__(self) -> Session:
        self.peer.connect(await self.remote.gather())
        await self.remote.connect(self.peer.local, self.port.candidates())
        await eventually(lambda: self.handler.connected)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.remote.close()

    async def goes_on(self) -> None:
        before = len(self.handler.rtp)
        await self.remote.send(rtp(secrets.randbelow(60_000)))
        await eventually(lambda: len(self.handler.rtp) == before + 1, what="a packet after all that")


class Stranger:
    """A socket that says what the test wants."""

    def __init__(self, port: RtcPort) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.socket.connect(("127.0.0.1", port.port))

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        self.socket.send(data)

    async def hear(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 2048), 20)

    async def check(self, peer: Peer, *, nominate: bool = True, pwd: str = "") -> stun.StunMessage:
        local = peer.agent.local
        attributes = [
            (stun.USERNAME, f"{local.ufrag}:them".encode()),
            (stun.PRIORITY, (1 << 31).to_bytes(4, "big")),
            (stun.ICE_CONTROLLING, bytes(8)),
        ]
        if nominate:
            attributes.append((stun.USE_CANDIDATE, b""))
        self.say(stun.build(stun.BINDING_REQUEST, secrets.token_bytes(12), attributes, key=(pwd or local.pwd).encode()))
        return stun.parse(await self.hear())

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()
        return host, port


async def test_a_burst_of_packets_is_not_lost(port: RtcPort) -> None:
    async with Session(port) as session:
        with Stranger(port) as stranger:
            await stranger.check(session.peer)  # for an address to send from without aiortc's own pace
            protect = session.remote.dtls._tx_srtp.protect
            packets = [rtp(sequence, b"x" * 1150) for sequence in range(400)]
            for packet in packets:  # the loop reads none of them meanwhile
                stranger.say(protect(packet))
            await eventually(lambda: len(session.handler.rtp) == len(packets))
            assert session.handler.rtp == packets
    granted = port.describe()["receive_buffer_bytes"]
    assert isinstance(granted, int)
    assert granted >= 212_992


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells it on Linux")
async def test_a_loop_that_is_late_knows_when_packets_came(port: RtcPort) -> None:
    async with Session(port) as session:
        with Stranger(port) as stranger:
            await stranger.check(session.peer)
            protect = session.remote.dtls._tx_srtp.protect
            said = []
            for sequence in range(4):
                said.append(time.monotonic())
                stranger.say(protect(rtp(sequence)))
                time.sleep(0.1)  # noqa: ASYNC251 that is what the loop is late by
            await eventually(lambda: len(session.handler.rtp) == len(said))
            arrivals = session.handler.arrivals
            assert arrivals == sorted(arrivals)
            apart = [late - early for early, late in pairwise(arrivals)]
            assert apart == pytest.approx([late - early for early, late in pairwise(said)], abs=0.05)


async def test_only_what_proves_the_password_moves_the_address(port: RtcPort) -> None:
    async with Session(port) as session:
        home = session.peer.remote_address
        with Stranger(port) as forger, Stranger(port) as street:
            answer = await forger.check(session.peer, pwd="guessed")
            assert answer.error == 401
            forger.say(b"\x80\x60" + bytes(50))
            forger.say(b"\x16\xfe\xfd" + bytes(50))
            await eventually(lambda: port.describe()["strangers"] == 2)
            assert session.peer.remote_address == home

            answer = await street.check(session.peer)
            assert answer.mapped == street.address
            assert session.peer.remote_address == street.address
            session.peer.send_rtp(rtp(5))
            assert session.remote.dtls._rx_srtp.unprotect(await street.hear()) == rtp(5)
            await session.goes_on()  # what comes by the former way is still heard


async def test_an_address_cannot_be_taken_from_a_living_peer(port: RtcPort) -> None:
    async with Session(port) as victim:
        with Stranger(port) as street:
            await street.check(victim.peer)
            other = port.peer(Handler(), "other")
            assert (await street.check(other)).error == 401
            assert victim.peer.remote_address == street.address
            assert other.remote_address is None
        await victim.goes_on()


async def test_ice_restarts_while_media_goes_on(port: RtcPort) -> None:
    async with Session(port) as session:
        before = session.peer.local
        ufrag, pwd = session.peer.restart_ice("new", "q" * 24)
        assert (session.peer.local.ufrag, session.peer.local.pwd) == (ufrag, pwd)
        assert ufrag != before.ufrag
        await session.goes_on()
        with Stranger(port) as street:
            await street.check(session.peer)
            assert session.peer.remote_address == street.address
            old = Stranger(port)
            with old:
                old.say(
                    stun.build(
                        stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, f"{before.ufrag}:x".encode())], key=b"k"
                    )
                )
                assert stun.parse(await old.hear()).error == 401
            assert session.peer.connected
            assert session.handler.closed == []


async def test_forged_and_repeated_packets_are_counted(port: RtcPort) -> None:
    async with Session(port) as session:
        with Stranger(port) as street:
            await street.check(session.peer)
            good = session.remote.dtls._tx_srtp.protect(rtp(1))
            forged = session.remote.dtls._tx_srtp.protect(rtp(2))[:-1] + b"x"
            for data in (good, good, forged, b"\x80\xc8" + bytes(30), good[:11]):
                street.say(data)
            refused = session.peer.refused
            await eventually(lambda: sum(refused.values()) == 4)
            assert refused["replayed"] == 1
            assert refused["forged"] == 2
            assert refused["malformed"] == 1
            assert session.handler.rtp == [rtp(1)]
            assert session.handler.rtcp == []
        await session.goes_on()


async def test_sources_are_bounded() -> None:
    port = await opened(rtc_sources_per_peer=3)
    try:
        async with Session(port) as session:
            for ssrc in range(10):
                await session.remote.send(rtp(1, ssrc=100 + ssrc))
            await eventually(lambda: session.peer.refused["sources"] == 7)
            assert len(session.handler.rtp) == 3
    finally:
        await port.close()


async def test_a_flood_of_strangers_is_cut_short_and_nobody_else_notices() -> None:
    port = await opened(rtc_bad_per_address=10, rtc_errors_per_second=5)
    try:
        async with Session(port) as session:
            with Stranger(port) as stranger:
                for _ in range(3000):
                    stranger.say(secrets.choice((0, 1, 22, 128)).to_bytes(1, "big") + secrets.token_bytes(60))
                    if not _ % 100:
                        await asyncio.sleep(0)
                nobody = stun.build(stun.BINDING_REQUEST, bytes(12), [(stun.USERNAME, b"a:b")], key=b"k")
                for _ in range(1000):
                    stranger.say(nobody)
                    if not _ % 100:
                        await asyncio.sleep(0)
                counts = port.describe()
                await eventually(lambda: port.describe()["turned_away"])
                answers = 0
                while True:
                    try:
                        stranger.socket.recv(2048)
                        answers += 1
                    except BlockingIOError:
                        break
                # ten wrong ones a second are read at all, and the flood goes on over a few of them
                assert answers < 500
                assert counts["peers"] == 1
            await session.goes_on()
    finally:
        await port.close()


async def test_garbage_from_a_peer_itself(port: RtcPort) -> None:
    async with Session(port) as session:
        with Stranger(port) as street:
            await street.check(session.peer)
            for first in range(256):
                for length in (0, 1, 12, 13, 40, 1400, 2100):
                    street.say(bytes((first,)) + os.urandom(length))
            street.say(b"")
            await street.check(session.peer)
        await session.goes_on()
        assert session.handler.closed == []


async def test_a_handler_that_raises_ends_its_own_session_alone(
    port: RtcPort, caplog: pytest.LogCaptureFixture
) -> None:
    async with Session(port) as one, Session(port) as other:

        def fail(packet: bytes, arrival: float) -> None:
            raise RuntimeError("a handler's own mistake")

        one.handler.on_rtp = fail  # type: ignore[method-assign]
        await one.remote.send(rtp(1))
        await eventually(lambda: one.handler.closed)
        assert one.handler.closed == ["The session failed."]
        assert "a handler's own mistake" in caplog.text
        await other.goes_on()


async def test_who_is_silent_is_closed() -> None:
    port = await opened(rtc_consent_timeout=1.0)
    try:
        async with Session(port) as session:
            session.remote.ice._connection._query_consent_task.cancel()  # the way is gone, without a word
            assert await eventually(lambda: session.handler.closed) == ["Nothing was heard of the other side for 1 s."]
            assert port.count == 0
    finally:
        await port.close()


async def test_a_certificate_that_is_not_the_one_of_the_sdp(port: RtcPort) -> None:
    handler, remote = Handler(), Remote()
    peer = port.peer(handler, "it")
    theirs = await remote.gather()
    peer.connect(
        IceDtlsParameters(ufrag=theirs.ufrag, pwd=theirs.pwd, fingerprints=SOMEBODY.fingerprints, setup="active")
    )
    try:
        await remote.connect(peer.local, port.candidates())
        await eventually(lambda: handler.closed)
        assert "certificate" in handler.closed[0]
        assert handler.connected == 0
    finally:
        await remote.close()


@pytest.mark.parametrize(
    ("wrong", "word"), [({"setup": "holdconn"}, "holdconn"), ({"fingerprints": (("md5", "AB"),)}, "a=fingerprint")]
)
async def test_parameters_that_cannot_be(port: RtcPort, wrong: dict[str, object], word: str) -> None:
    peer = port.peer(Handler(), "it")
    values = {"ufrag": "u", "pwd": "p", "fingerprints": SOMEBODY.fingerprints, "setup": "actpass", **wrong}
    with pytest.raises(ValueError, match=word):
        peer.connect(IceDtlsParameters(**values))  # type: ignore[arg-type]


async def test_there_are_only_so_many_peers() -> None:
    port = await opened(rtc_max_peers=2)
    try:
        first, _ = port.peer(Handler(), "1"), port.peer(Handler(), "2")
        with pytest.raises(CannotServe, match="as many"):
            port.peer(Handler(), "3")
        first.close()
        port.peer(Handler(), "3")
        port.stop_accepting()
        with pytest.raises(CannotServe, match="stopping"):
            port.peer(Handler(), "4")
        assert port.describe()["refused_peers"] == 2
    finally:
        await port.close()


async def test_handshakes_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    port = await opened(rtc_max_handshakes=1)
    handler = Handler()
    slow = port.peer(handler, "slow")
    slow.connect(SOMEBODY)
    try:
        with Stranger(port) as stranger:
            await stranger.check(slow)
            stranger.say(bytes((22, 254, 253)) + bytes(30))  # begins, and never goes on
            await eventually(lambda: port.describe()["handshakes"] == 1)
            waiting = asyncio.create_task(connected(port))
            await eventually(lambda: port.describe()["handshakes_put_off"])
            assert handler.closed == []
            # later it gives way
            monkeypatch.setattr("media.rtc.port.LONG_HANDSHAKE", 0.0)
            session = await waiting
            assert handler.closed == ["The DTLS handshake took too long."]
            await session.goes_on()
            await session.remote.close()
    finally:
        await port.close()


async def connected(port: RtcPort) -> Session:
    return await Session(port).__aenter__()


async def test_five_hundred_half_open_sessions_leave_nothing() -> None:
    port = await opened(rtc_max_peers=500)
    patient, over = port.options, replace(port.options, rtc_connect_timeout=0.0)
    handler = Handler()

    async def abandon() -> int:
        port.options = patient
        for place in range(500):
            peer = port.peer(handler, "half")
            if place % 4:
                peer.connect(SOMEBODY)
            if place % 4 > 1:
                with Stranger(port) as stranger:
                    await stranger.check(peer)
                    stranger.say(bytes((22, 254, 253)) + bytes(30))
        held = tracemalloc.get_traced_memory()[0]
        del peer
        port.options = over  # as when the time has passed
        await eventually(lambda: len(handler.closed) == 500)
        assert port.count == 0
        handler.closed.clear()
        return held

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    try:
        await abandon()  # once for what is made only once
        gc.collect()
        tasks, open_files = len(asyncio.all_tasks()), files()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            held = await abandon() - before
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert len(asyncio.all_tasks()) == tasks
        assert files() == open_files
        assert held > 500 * 1000
        assert grown < held / 20
        described = port.describe()
        assert described["handshakes"] == 0
        assert not port._by_ufrag
        assert not port._by_address
    finally:
        await port.close()


async def test_without_segmentation_packets_go_one_by_one(port: RtcPort, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Session(port) as session:
        monkeypatch.setattr("media.rtc.port.UDP_SEGMENT", 9999)  # of which no kernel knows
        packets = [rtp(sequence, b"x" * 1000, ssrc=9) for sequence in range(9)] + [rtp(9, b"y", ssrc=9)]
        session.peer.send_rtp_batch(packets[:4])
        session.peer.send_rtp_batch(packets[4:])
        await eventually(lambda: len(session.remote.dtls.rtp) == 10)
        assert session.remote.dtls.rtp == packets
        assert port.segments is False


@pytest.mark.parametrize(
    "sizes",
    [
        [*[1000] * 8, 3],
        [3, *[1000] * 8],
        [1000, 3] * 6,
        [*[1000] * 4, *[1100] * 4],
        [1000, 1, 1000, 1000],
        [1000] * 150,
        [7] * 300,
        [1100 - 5 * i for i in range(200)],
    ],
    ids=lambda sizes: f"{len(sizes)}-of-{len(set(sizes))}-sizes",
)
async def test_batches_of_any_shape_arrive_whole_and_in_order(port: RtcPort, sizes: list[int]) -> None:
    async with Session(port) as session:
        packets = [rtp(number, bytes((number & 0xFF,)) * size, ssrc=9) for number, size in enumerate(sizes)]
        for start, stop in ((0, 1), (1, len(packets))):  # what a packet grows by is known after the first
            session.peer.send_rtp_batch(packets[start:stop])
        await eventually(lambda: len(session.remote.dtls.rtp) == len(packets))
        assert session.remote.dtls.rtp == packets
        assert session.peer.sent_packets == len(packets)
        assert session.peer.sent_bytes == sum(map(len, packets)) + 16 * len(packets)


async def test_what_cannot_be_sent_is_counted_and_never_raised(port: RtcPort) -> None:
    async with Session(port) as session:
        session.peer.send_rtp(b"x" * 5000)
        session.peer.send_rtp(b"")
        session.peer.send_rtp_batch([b"x" * 3000] * 4)
        session.peer.send_rtcp(b"y")
        assert session.peer.unsent == 7
        session.peer.send_rtp(rtp(1, ssrc=9))
        session.peer.send_rtp_batch([b"x" * 3000] * 4)
        good = rtp(2, ssrc=9)
        long = b"\x90".ljust(14, b".") + b"\xff\xff"  # an extension that it says is long
        session.peer.send_rtp_batch([good, long.ljust(len(good), b"."), good])
        assert session.peer.unsent == 14
        session.peer.send_rtcp(receiver_report())
        await eventually(lambda: session.remote.dtls.rtcp)
    session.peer.close()
    session.peer.send_rtp_batch([rtp(1), rtp(2), rtp(3)])
    assert session.peer.unsent == 17
    await eventually(lambda: session.handler.closed)
    assert port.packets()["received"] == session.peer.received_packets


async def test_a_taken_port_is_told() -> None:
    port = await opened()
    try:
        with pytest.raises(OSError, match="in use"):
            await opened(rtc_port=port.port)
    finally:
        await port.close()


async def test_closing_tells_everybody_before_it_returns() -> None:
    port = await opened()
    handler = Handler()
    port.peer(handler, "it")
    started = time.monotonic()
    await port.close()
    assert handler.closed == ["The server is stopping."]
    assert time.monotonic() >= started
    with pytest.raises(CannotServe):
        port.peer(handler, "late")
