"""RTP packets and their header extensions, retransmissions, and what is kept for them."""

from __future__ import annotations

import contextlib

import pytest
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap
from aiortc.rtp import RtpPacket as TheirPacket
from hypothesis import given
from hypothesis import strategies as st

from media.protocols.errors import RtpError
from media.protocols.rtp import packet, rtx
from media.protocols.rtp.packet import ExtensionMap, Extensions, RtpPacket
from media.protocols.rtp.rtx import History

HEAD = bytes.fromhex("80e0 1234 00000064 deadbeef".replace(" ", ""))


def with_first(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + HEAD[1:] + rest


def test_a_plain_packet() -> None:
    found = packet.parse(HEAD + b"abc")
    assert (found.payload_type, found.sequence, found.timestamp, found.ssrc) == (0x60, 0x1234, 100, 0xDEADBEEF)
    assert found.marker
    assert (found.payload, found.profile, found.extension) == (b"abc", 0, b"")
    assert found.build() == HEAD + b"abc"
    assert repr(found) == "<RTP deadbeef type 96 #4660 @100 marker 3 bytes>"


@pytest.mark.parametrize(
    ("data", "payload", "extensions"),
    [
        pytest.param(with_first(0x82, bytes(8) + b"abc"), b"abc", {}, id="contributing sources"),
        pytest.param(with_first(0xA0, b"abc\x00\x00\x03"), b"abc", {}, id="padding"),
        pytest.param(with_first(0xA0, bytes(254) + b"\xff"), b"", {}, id="nothing but padding"),
        pytest.param(with_first(0x90, b"\xbe\xde\x00\x01\x900\x00\x00p"), b"p", {9: b"0"}, id="one-byte"),
        pytest.param(with_first(0x90, b"\xbe\xde\x00\x01\x00\x00\x10Xp"), b"p", {1: b"X"}, id="padding before it"),
        pytest.param(with_first(0x90, b"\xbe\xde\x00\x01\x10X\xf0Yp"), b"p", {1: b"X"}, id="15 ends the reading"),
        pytest.param(with_first(0x90, b"\xbe\xde\x00\x01\x10X\x23Yp"), b"p", {1: b"X"}, id="one that is too long"),
        pytest.param(with_first(0x90, b"\xbe\xde\x00\x01\x10X\x10Yp"), b"p", {1: b"X"}, id="the first of two"),
        pytest.param(with_first(0x90, b"\x10\x00\x00\x01\xff\x010\x00p"), b"p", {255: b"0"}, id="two-byte"),
        pytest.param(with_first(0x90, b"\x10\x05\x00\x01\x07\x00\x00\x09p"), b"p", {7: b""}, id="two-byte, empty"),
        pytest.param(with_first(0x90, b"\x12\x34\x00\x01abcdp"), b"p", {}, id="of another kind"),
        pytest.param(with_first(0xB1, bytes(4) + b"\xbe\xde\x00\x00p\x01"), b"p", {}, id="everything"),
    ],
)
def test_headers(data: bytes, payload: bytes, extensions: dict[int, bytes]) -> None:
    found = packet.parse(data)
    assert found.payload == payload
    assert found.extensions() == extensions


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "shorter than its header"),
        (HEAD[:11], "shorter than its header"),
        (with_first(0x40, b"abc"), "another version"),
        (with_first(0x8F, bytes(59)), "ends within its header"),
        (with_first(0x90, b"\xbe\xde\x00"), "within its header extension"),
        (with_first(0x90, b"\xbe\xde\xff\xff" + bytes(100)), "ends within its header"),
        (with_first(0xA0, b"abc\x00"), "more padding"),
        (with_first(0xA0, b"\x02"), "more padding"),
        (with_first(0xB0, b"\xbe\xde\x00\x01\x00\x00\x00\x05"), "more padding"),
    ],
)
def test_what_is_no_packet(data: bytes, reason: str) -> None:
    with pytest.raises(RtpError, match=reason):
        packet.parse(data)


@given(st.binary(max_size=80), st.integers(0, 255))
def test_any_bytes_are_a_packet_or_an_error(data: bytes, first: int) -> None:
    with contextlib.suppress(RtpError):
        found = packet.parse(bytes((0x80 | first & 0x3F,)) + data)
        assert len(found.payload) <= len(data)
        found.extensions()
        assert packet.parse(found.build()).payload == found.payload


values = st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=5) | st.dictionaries(
    st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=5
)


@given(values, st.binary(max_size=50), st.booleans(), st.integers(0, 255))
def test_a_packet_comes_back(extensions: dict[int, bytes], payload: bytes, marker: bool, padding: int) -> None:
    data = packet.build(
        payload,
        payload_type=111,
        sequence=0x1FFFF,
        timestamp=-1,
        ssrc=7,
        marker=marker,
        extension=packet.build_extension(extensions),
        padding=padding,
    )
    found = packet.parse(data)
    assert (found.sequence, found.timestamp, found.marker, found.payload) == (0xFFFF, 0xFFFFFFFF, marker, payload)
    assert found.extensions() == extensions
    if not extensions and not padding:
        assert found.build() == data


def test_aiortc_reads_what_we_write_and_we_what_it_writes() -> None:
    uris = (packet.MID, packet.TRANSPORT_CC, packet.ABS_SEND_TIME, packet.AUDIO_LEVEL, packet.RID, packet.REPAIRED_RID)
    ids = {uri: i for i, uri in enumerate(uris, 1)}
    theirs = HeaderExtensionsMap()
    for uri, number in ids.items():
        name = {packet.TRANSPORT_CC: "transport_sequence_number", packet.ABS_SEND_TIME: "abs_send_time"}.get(uri)
        name = name or {packet.MID: "mid", packet.AUDIO_LEVEL: "audio_level", packet.RID: "rtp_stream_id"}.get(uri)
        setattr(theirs._HeaderExtensionsMap__ids, name or "repaired_rtp_stream_id", number)
    sent = TheirPacket(payload_type=96, marker=1, sequence_number=9, timestamp=8, ssrc=7, payload=b"abc")
    sent.extensions = HeaderExtensions(
        abs_send_time=0x123456,
        audio_level=(True, 42),
        mid="video",
        rtp_stream_id="h",
        repaired_rtp_stream_id="m",
        transport_sequence_number=0xABCD,
    )
    ours = packet.parse(sent.serialize(theirs))
    mapped = ExtensionMap(ids)
    assert mapped.read(ours) == Extensions("video", "h", "m", 0xABCD, 0x123456, 42, True)
    assert mapped.transport_sequence(ours) == 0xABCD
    back = TheirPacket.parse(ours.build(), theirs)
    assert back.extensions == sent.extensions
    assert back.payload == b"abc"


def test_extensions_that_were_not_agreed_on_are_not_read() -> None:
    found = packet.parse(with_first(0x90, b"\xbe\xde\x00\x01\x10X\x00\x00p"))
    nothing = ExtensionMap({})
    assert nothing.read(found) == Extensions()
    assert nothing.transport_sequence(found) == -1
    mapped = ExtensionMap({packet.TRANSPORT_CC: 1, packet.ABS_SEND_TIME: 1})
    assert mapped.read(found) == Extensions()
    assert mapped.transport_sequence(found) == -1
    assert mapped.read(packet.parse(HEAD)) == Extensions()


def test_the_send_time_wraps_each_64_seconds() -> None:
    assert packet.abs_send_time(1.5) == (0x60000).to_bytes(3, "big")
    assert packet.abs_send_time(65.5) == packet.abs_send_time(1.5)


@pytest.mark.parametrize(("data", "rtcp"), [(HEAD, False), (b"\x80\xc8", True), (b"\x80\xdf", True), (b"\x80", False)])
def test_rtcp_is_told_apart(data: bytes, rtcp: bool) -> None:
    assert packet.is_rtcp(data) is rtcp


def test_a_retransmission_comes_back_as_what_it_was() -> None:
    original = packet.parse(with_first(0x90, b"\xbe\xde\x00\x01\x10X\x00\x00payload"))
    sent = RtpPacket(
        97,
        5,
        original.timestamp,
        99,
        rtx.payload(original.sequence, original.payload),
        marker=True,
        profile=original.profile,
        extension=original.extension,
    )
    back = rtx.unwrap(packet.parse(sent.build()), payload_type=original.payload_type, ssrc=original.ssrc)
    assert back is not None
    assert back.build() == original.build()
    for short in (b"", b"\x00", b"\x00\x01"):
        sent.payload = short
        assert rtx.unwrap(sent, payload_type=96, ssrc=1) is None


def test_the_history_answers_what_it_keeps_once_in_a_round_trip() -> None:
    history: History[str] = History(4)
    for sequence in (65534, 65535, 0, 1, 2):
        history.keep(sequence, f"packet {sequence}")
    assert history.asked([65534, 65535, 2, 77], now=1.0, rtt=0.1) == [(65535, "packet 65535"), (2, "packet 2")]
    assert history.asked([65535], now=1.05, rtt=0.1) == []
    assert history.asked([65535, 65535], now=1.2, rtt=0.1) == [(65535, "packet 65535")]
    assert (history.resent, history.refused) == (3, 4)
    history.keep(3, "packet 3")
    assert history.asked([3], now=1.21, rtt=0.1) == [(3, "packet 3")]
    history.clear()
    assert history.asked([0, 1, 2, 3], now=9.0, rtt=0.1) == []
    with pytest.raises(ValueError, match="power of two"):
        History(5)
