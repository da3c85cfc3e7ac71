"""The other side of a peer in tests: aiortc's own ICE and DTLS, or what stands for a browser in a process of ours."""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc import RTCIceCandidate, RTCIceGatherer, RTCIceParameters, RTCIceTransport
from aiortc.rtcdtlstransport import RTCCertificate, RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.sdp import candidate_from_sdp

from media.rtc.options import IceDtlsParameters


class Handler:
    """Notes what a peer tells."""

    def __init__(self) -> None:
        self.connected = 0
        self.rtp: list[bytes] = []
        self.arrivals: list[float] = []
        self.rtcp: list[bytes] = []
        self.closed: list[str] = []

    def on_connected(self) -> None:
        self.connected += 1

    def on_rtp(self, packet: bytes, arrival: float) -> None:
        self.rtp.append(packet)
        self.arrivals.append(arrival)

    def on_rtcp(self, packet: bytes) -> None:
        self.rtcp.append(packet)

    def on_closed(self, reason: str) -> None:
        self.closed.append(reason)


class Transport(RTCDtlsTransport):
    """aiortc's, with what it decrypted kept as bytes."""

    def __init__(self, ice: RTCIceTransport, certificate: RTCCertificate) -> None:
        super().__init__(ice, [certificate])
        self.rtp: list[bytes] = []
        self.rtcp: list[bytes] = []

    async def _handle_rtp_data(self, data: bytes, arrival_time_ms: int) -> None:
        self.rtp.append(data)

    async def _handle_rtcp_data(self, data: bytes) -> None:
        self.rtcp.append(data)


class Remote:
    """Connects as a browser does: it controls, checks and nominates."""

    def __init__(self, *, setup: str = "active") -> None:
        self.setup = setup
        self.certificate = RTCCertificate.generateCertificate()
        self.ice = RTCIceTransport(RTCIceGatherer(iceServers=[]))
        self.ice._connection.ice_controlling = True
        self.dtls = Transport(self.ice, self.certificate)

    async def gather(self) -> IceDtlsParameters:
        await self.ice.iceGatherer.gather()
        mine = self.ice.iceGatherer.getLocalParameters()
        assert mine.usernameFragment
        assert mine.password
        return IceDtlsParameters(
            ufrag=mine.usernameFragment,
            pwd=mine.password,
            fingerprints=tuple((one.algorithm, one.value) for one in self.certificate.getFingerprints()),
            setup=self.setup,
        )

    async def connect(self, other: IceDtlsParameters, candidates: list[str]) -> None:
        for line in candidates:
            await self.ice.addRemoteCandidate(candidate(line))
        await self.ice.addRemoteCandidate(None)
        await self.ice.start(RTCIceParameters(usernameFragment=other.ufrag, password=other.pwd, iceLite=True))
        self.dtls._set_role("client" if self.setup == "active" else "server")
        await self.dtls.start(
            RTCDtlsParameters([RTCDtlsFingerprint(algorithm, value) for algorithm, value in other.fingerprints])
        )

    async def send(self, packet: bytes) -> None:
        await self.dtls._send_rtp(packet)

    async def close(self) -> None:
        await self.dtls.stop()
        await self.ice.stop()
        await asyncio.sleep(0)


def candidate(line: str) -> RTCIceCandidate:
    found = candidate_from_sdp(line.removeprefix("a=candidate:"))
    found.sdpMid = "0"
    return found


def rtp(sequence: int, payload: bytes = b"x" * 100, *, ssrc: int = 7, kind: int = 96) -> bytes:
    return (
        bytes((0x80, kind))
        + sequence.to_bytes(2, "big")
        + (sequence * 3000).to_bytes(4, "big")
        + ssrc.to_bytes(4, "big")
        + payload
    )


def receiver_report(ssrc: int = 7) -> bytes:
    return bytes((0x80, 201, 0, 1)) + ssrc.to_bytes(4, "big")


def options(**other: Any) -> dict[str, Any]:
    return {"rtc_port": 0, **other}
