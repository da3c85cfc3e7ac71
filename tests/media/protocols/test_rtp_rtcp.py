"""RTCP: tables, aiortc's reading of what we write, and any bytes."""

from __future__ import annotations

import contextlib

import pytest
from aiortc import rtp as theirs
from hypothesis import given, settings
from hypothesis import strategies as st

from media.protocols.errors import RtpError
from media.protocols.rtp import rtcp
from media.protocols.rtp.feedback import MAX_STATUSES, TransportFeedback
from media.protocols.rtp.rtcp import (
    Bye,
    Description,
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    Rtcp,
    SenderReport,
)

u32 = st.integers(0, 0xFFFFFFFF)
u16 = st.integers(0, 0xFFFF)
u8 = st.integers(0, 255)
text = st.binary(max_size=40)
blocks = st.lists(
    st.builds(ReportBlock, u32, u8, st.integers(-0x800000, 0x7FFFFF), u32, u32, u32, u32), max_size=31
).map(tuple)
deltas = st.lists(st.none() | st.integers(0, 255) | st.integers(-32768, 32767) | st.just(4), max_size=200).map(
    tuple
) | st.builds(
    lambda runs: sum(runs, ()),
    st.lists(st.builds(lambda n, d: (d,) * n, st.integers(1, 60), st.sampled_from([None, 3, 300])), max_size=8),
)
messages = st.one_of(
    st.builds(SenderReport, u32, st.integers(0, (1 << 64) - 1), u32, u32, u32, blocks),
    st.builds(ReceiverReport, u32, blocks),
    st.builds(
        Description,
        st.lists(
            st.tuples(u32, st.lists(st.tuples(st.integers(1, 8), text), max_size=3).map(tuple)), max_size=4
        ).map(tuple),
    ),
    st.builds(Bye, st.lists(u32, max_size=5).map(tuple), text),
    st.builds(Pli, u32, u32),
    st.builds(Fir, u32, st.lists(st.tuples(u32, u8), max_size=4).map(tuple)),
    st.builds(TransportFeedback, u32, u32, u16, st.integers(0, 0xFFFFFF), u8, deltas),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.lists(messages, max_size=4))
def test_what_is_built_is_read(packets: list[Rtcp]) -> None:
    data = rtcp.compound(packets)
    assert len(data) % 4 == 0
    assert rtcp.parse(data) == packets


@given(u32, u32, st.sets(u16, max_size=100), u16)
def test_nacks_ask_for_what_they_are_given(sender: int, source: int, wanted: set[int], first: int) -> None:
    ordered = tuple(sorted(wanted, key=lambda sequence: (sequence - first) & 0xFFFF))
    (found,) = rtcp.parse(Nack(sender, source, ordered).build()) if ordered else [Nack(sender, source, ())]
    assert found == Nack(sender, source, ordered)
    messages = rtcp.nacks(sender, source, ordered, 30)
    assert [sequence for message in messages for sequence in message.sequences] == list(ordered)
    assert all(len(message.sequences) <= 30 for message in messages)


@given(st.integers(0, (1 << 64) - 1), st.lists(u32, max_size=5).map(tuple))
def test_remb_keeps_its_18_highest_bits(bitrate: int, sources: tuple[int, ...]) -> None:
    (found,) = rtcp.parse(Remb(1, bitrate, sources).build())
    assert isinstance(found, Remb)
    assert found.sources == sources
    assert bitrate * (1 - 1 / (1 << 17)) <= found.bitrate <= bitrate


def test_aiortc_reads_what_we_write() -> None:
    block = ReportBlock(5, 51, -3, 0x1_0005, 127, 77, 88)
    data = rtcp.compound(
        [
            SenderReport(1, 16016567581311369308, 1722342718, 269, 13557, (block,)),
            Description(((1, ((rtcp.CNAME, b"somebody"),)),)),
            Nack(1, 2, (12, 32, 39, 54, 76)),
            Pli(1, 2),
            Bye((1, 2)),
        ]
    )
    report, description, nack, pli, bye = theirs.RtcpPacket.parse(data)
    assert isinstance(report, theirs.RtcpSrPacket)
    assert report.sender_info.ntp_timestamp == 16016567581311369308
    assert (report.reports[0].packets_lost, report.reports[0].fraction_lost) == (-3, 51)
    assert isinstance(description, theirs.RtcpSdesPacket)
    assert description.chunks[0].items == [(1, b"somebody")]
    assert isinstance(nack, theirs.RtcpRtpfbPacket)
    assert nack.lost == [12, 32, 39, 54, 76]
    assert isinstance(pli, theirs.RtcpPsfbPacket)
    assert isinstance(bye, theirs.RtcpByePacket)
    assert bye.sources == [1, 2]
    remb = theirs.RtcpPacket.parse(Remb(1, 4160000, (2529072847,)).build())[0]
    assert isinstance(remb, theirs.RtcpPsfbPacket)
    assert theirs.unpack_remb_fci(remb.fci) == (4160000, [2529072847])


@pytest.mark.parametrize(
    ("data", "packet"),
    [
        pytest.param(
            # the example of draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1.3 and 3.1.4, in one message
            "8fcd0007 00000001 00000002 0064 001e 000005 07 0003 2002 9999 4004 0102 03 0190 fe70 ffff 0001 00",
            None,
            id="deltas that are too few",
        ),
        pytest.param(
            "8fcd0006 00000001 00000002 0064 0003 000005 07 2003 0a0b0c 000000",
            TransportFeedback(1, 2, 100, 5, 7, (10, 11, 12)),
            id="a run of small deltas",
        ),
        pytest.param(
            "8fcd0006 00000001 00000002 0064 000e 000005 07 a001 0a0b 0c 000000 00000000",
            None,
            id="longer than its length",
        ),
        pytest.param(
            "8fcd0005 00000001 00000002 fffe 000e 000005 07 a001 0a0b",
            TransportFeedback(1, 2, 65534, 5, 7, (10, *[None] * 12, 11)),
            id="one bit each",
        ),
        pytest.param(
            "8fcd0006 00000001 00000002 0001 0003 000005 07 d200 0a ff38 000000",
            TransportFeedback(1, 2, 1, 5, 7, (10, None, -200)),
            id="two bits each",
        ),
        pytest.param("8fcd0004 00000001 00000002 0001 0003 000005 07 6003 0000", None, id="a reserved status"),
        pytest.param("8fcd0004 00000001 00000002 0001 0003 000005 07 0000 0000", None, id="an empty run"),
        pytest.param("8fcd0004 00000001 00000002 0001 ffff 000005 07 1fff 0000", None, id="too many packets"),
        pytest.param("8fcd0003 00000001 00000002 0001 0003", None, id="too short"),
    ],
)
def test_transport_feedback(data: str, packet: TransportFeedback | None) -> None:
    raw = bytes.fromhex(data.replace(" ", ""))
    if packet is None:
        with pytest.raises(RtpError):
            rtcp.parse(raw)
        return
    assert rtcp.parse(raw) == [packet]
    assert packet.build() == raw


def test_feedback_that_cannot_be_said_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bits"):
        TransportFeedback(1, 2, 3, 4, 5, (32768,)).build()
    with pytest.raises(ValueError, match="at most"):
        TransportFeedback(1, 2, 3, 4, 5, (1,) * (MAX_STATUSES + 1)).build()


def test_the_shorter_form_is_chosen() -> None:
    lost_now_and_then = TransportFeedback(1, 2, 3, 4, 5, (1, None) * 70)
    none_lost = TransportFeedback(1, 2, 3, 4, 5, (1,) * 140)
    assert len(lost_now_and_then.build()) == 20 + 20 + 72
    assert len(none_lost.build()) == 20 + 4 + 140 - 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80", "within its header"),
        (b"\x40\xc8\x00\x00", "another version"),
        (b"\x80\xc8\x00\x06" + bytes(20), "longer than its datagram"),
        (b"\x80\xc8\x00\x00", "ends too early"),
        (b"\x81\xc8\x00\x06" + bytes(24), "ends too early"),
        (b"\x81\xc9\x00\x01" + bytes(4), "ends too early"),
        (b"\x81\xca\x00\x01" + bytes(4), "description ends"),
        (b"\x81\xca\x00\x02" + bytes(4) + b"\x01\x09ab", "description ends"),
        (b"\x81\xca\x00\x00", "description ends"),
        (b"\x82\xcb\x00\x01" + bytes(4), "ends too early"),
        (b"\x81\xcb\x00\x02" + bytes(4) + b"\x09abc", "within its reason"),
        (b"\x81\xce\x00\x01" + bytes(4), "ends too early"),
        (b"\x8f\xce\x00\x03" + bytes(8) + b"REMB", "ends too early"),
        (b"\x8f\xce\x00\x04" + bytes(8) + b"REMB" + b"\x02\x00\x00\x00", "ends too early"),
        (b"\xa0\xc9\x00\x01" + b"\x00\x00\x00\x09", "more padding"),
        (b"\xa0\xc9\x00\x00", "more padding"),
        (Pli(1, 2).build() * (rtcp.MAX_PACKETS + 1), "more than"),
    ],
)
def test_what_is_damaged(data: bytes, reason: str) -> None:
    with pytest.raises(RtpError, match=reason):
        rtcp.parse(data)


def test_what_is_unknown_is_left_out_and_padding_taken_off() -> None:
    unknown = b"\x80\xcc\x00\x02name" + bytes(4) + b"\x82\xcd\x00\x02" + bytes(8) + b"\x83\xce\x00\x02" + bytes(8)
    padded = b"\xa1\xc9\x00\x08" + ReceiverReport(3, (ReportBlock(1, 2, 3, 4, 5),)).build()[4:] + b"\x00\x00\x00\x04"
    assert rtcp.parse(unknown + padded) == [ReceiverReport(3, (ReportBlock(1, 2, 3, 4, 5),))]


@settings(max_examples=300)
@given(st.sampled_from([200, 201, 202, 203, 205, 206]), st.integers(0, 63), st.binary(max_size=120))
def test_any_body_is_read_or_refused(kind: int, first: int, body: bytes) -> None:
    body += bytes(-len(body) % 4)
    with contextlib.suppress(RtpError):
        for packet in rtcp.parse(bytes((0x80 | first, kind, 0, len(body) // 4)) + body):
            packet.build()
