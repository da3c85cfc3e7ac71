"""What is taken of the offers of real programs, and what is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from media.protocols.errors import SdpError
from media.protocols.rtp.packet import MID, RID, TRANSPORT_CC
from media.protocols.sdp import Description
from media.rtc.offer import Agreement, NothingInCommon, Stream, Wanted, take
from media.rtc.options import IceDtlsParameters
from media.samples import Codec, Kind

OFFERS = Path(__file__).parent / "offers"
TAKEN = [Wanted(codec) for codec in (Codec.H264, Codec.AV1, Codec.VP9, Codec.OPUS)]
LOCAL = IceDtlsParameters(
    ufrag="here", pwd="p" * 24, fingerprints=(("sha-256", ":".join(["AB"] * 32)),), setup="passive"
)
CANDIDATES = ["a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host"]


def offered(name: str) -> Description:
    return Description.parse((OFFERS / f"{name}.sdp").read_bytes())


def answer_of(agreement: Agreement, **more: Stream) -> Description:
    return Description.parse(agreement.answer(LOCAL, CANDIDATES, more).encode())


@pytest.mark.parametrize(
    ("name", "payload", "rtx", "transport_cc"),
    [
        ("aiortc", 99, 100, False),
        ("chromium-whip", 102, 103, True),
        ("chromium-simulcast", 102, 103, True),
        ("firefox", 126, 127, True),
        ("gstreamer", 96, 97, True),
        ("obs", 96, 97, False),
    ],
)
def test_h264_and_opus_are_taken_of_every_program(name: str, payload: int, rtx: int, *, transport_cc: bool) -> None:
    offer = offered(name)
    agreement = take(offer, TAKEN, receive=True)
    video, audio = agreement.of(Kind.VIDEO), agreement.of(Kind.AUDIO)
    assert video is not None
    assert audio is not None
    assert [(one.codec, one.format.payload_type, one.rtx) for one in video.formats] == [(Codec.H264, payload, rtx)]
    assert [one.codec for one in audio.formats] == [Codec.OPUS]
    assert video.transport_cc is transport_cc
    assert ("goog-remb" in video.feedback) is (not transport_cc)
    assert agreement.remote.ufrag == offer.sections[0].ufrag

    answer = answer_of(agreement)
    assert answer.lite
    assert answer.bundles == offer.bundles
    assert [section.mid for section in answer.sections] == [section.mid for section in offer.sections]
    for section in answer.sections:
        assert section.direction == "recvonly"
        assert section.setup == "passive"
        assert section.rtcp_mux
        assert (section.ufrag, section.pwd) == (LOCAL.ufrag, LOCAL.pwd)
        assert section.candidates
        assert section.end_of_candidates


def test_simulcast_is_received_as_it_is_sent() -> None:
    agreement = take(offered("chromium-simulcast"), TAKEN, receive=True)
    video = agreement.of(Kind.VIDEO)
    assert video is not None
    assert video.rids == ("l", "m", "h")
    assert {MID, RID, TRANSPORT_CC} <= video.extensions.keys()
    section = answer_of(agreement).sections[0]
    assert section.simulcast == {"recv": ("l", "m", "h")}
    assert {rid.direction for rid in section.rids} == {"recv"}


def test_a_player_is_sent_one_format_of_each_codec_by_the_profile_that_is_broadcast() -> None:
    offer = offered("chromium-whep")
    agreement = take(offer, [Wanted(Codec.H264, 0x4D), *TAKEN[1:]], receive=False, every=True)
    video = agreement.of(Kind.VIDEO)
    assert video is not None
    assert [one.codec for one in video.formats] == [Codec.H264, Codec.AV1, Codec.VP9]
    assert video.formats[0].format.parameters["profile-level-id"].startswith("4d")
    assert RID not in video.extensions
    answer = answer_of(agreement, **{video.mid: Stream(1, 2, "name", "s t")})
    section = next(one for one in answer.sections if one.kind == "video")
    assert section.direction == "sendonly"
    assert section.groups == [("FID", (1, 2))]
    assert section.msid == "s t"


def test_the_level_of_a_sender_is_not_held_down() -> None:
    agreement = take(offered("chromium-whip"), TAKEN, receive=True)
    video = next(one for one in answer_of(agreement).sections if one.kind == "video")
    assert video.formats[0].parameters["profile-level-id"] == "420034"


def test_a_browser_is_told_what_to_begin_with() -> None:
    agreement = take(offered("chromium-whip"), TAKEN, receive=True)
    answer = Description.parse(agreement.answer(LOCAL, CANDIDATES, start_bitrate=1500).encode())
    told = {section.kind: section.formats[0].parameters.get("x-google-start-bitrate") for section in answer.sections}
    assert told == {"video": "1500", "audio": None}
    assert "x-google" not in agreement.answer(LOCAL, CANDIDATES)


def changed(name: str, *replacements: tuple[str, str]) -> Description:
    text = (OFFERS / f"{name}.sdp").read_bytes().decode()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return Description.parse(text.encode())


def test_nothing_in_common_names_both_sides() -> None:
    offer = changed("obs", ("H264/90000", "VP8/90000"), ("opus/48000/2", "PCMU/8000"))
    with pytest.raises(NothingInCommon) as refused:
        take(offer, TAKEN, receive=True)
    assert refused.value.offered == ["PCMU", "VP8"]
    assert refused.value.taken == ["H264", "AV1", "VP9", "opus"]


def test_what_cannot_be_taken_is_rejected_with_port_0() -> None:
    agreement = take(changed("obs", ("H264/90000", "VP8/90000")), TAKEN, receive=True)
    refused = agreement.without(Kind.VIDEO)
    assert refused is not None
    assert "VP8" in refused.why
    audio, video = answer_of(agreement).sections
    assert audio.port == 9
    assert video.port == 0
    assert answer_of(agreement).bundles == [("0",)]


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (("a=sendonly", "a=recvonly"), "does not send"),
        (("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (("m=video 9", "m=video 0"), "port 0"),
        (("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "protocol"),
        (("a=group:BUNDLE 0 1\r\n", ""), "BUNDLE"),
        (("profile-level-id=42e01f", "profile-level-id=6e001f"), "no codec"),
        (("profile-level-id=42e01f", "profile-level-id=zz"), "no codec"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1].strip() or value[0].strip(),
)
def test_why_a_section_is_rejected(replacement: tuple[str, str], words: str) -> None:
    try:
        every = take(changed("obs", replacement), TAKEN, receive=True).every
        why = " ".join(section.why for section in every)
    except NothingInCommon as refused:
        why = " ".join(refused.rejected)
    assert words in why


@pytest.mark.parametrize("line", ["a=ice-ufrag:gtcX", "a=ice-pwd:2qV9gqqGqrSHwMiHq3TkC7"])
def test_an_offer_without_a_transport_cannot_be_answered(line: str) -> None:
    with pytest.raises(SdpError, match="a=ice-ufrag or a=ice-pwd"):
        take(changed("obs", (line + "\r\n", "")), TAKEN, receive=True)


@pytest.mark.parametrize("path", sorted(OFFERS.glob("*.sdp")), ids=lambda path: path.stem)
def test_damaged_offers_are_answered_or_refused(path: Path) -> None:
    """Bytes changed, lines left out, doubled and swapped: an answer that can be read, or an SdpError."""
    chance = random.Random(path.stem)
    whole = path.read_bytes()
    answers = 0
    wanted, receive = [Wanted(Codec.H264, 0x4D), *TAKEN[1:]], path.stem != "chromium-whep"
    for _ in range(300):
        lines = whole.splitlines(keepends=True)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(lines))
            how = chance.randrange(4)
            if how == 0:
                del lines[at]
            elif how == 1:
                lines.insert(chance.randrange(len(lines)), lines[at])
            else:
                spoiled = bytearray(lines[at])
                spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
                lines[at] = bytes(spoiled)
        try:
            agreement = take(Description.parse(b"".join(lines)), wanted, receive=receive)
        except SdpError:
            continue
        answer_of(agreement)
        answers += 1
    assert answers
