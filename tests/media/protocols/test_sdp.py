"""Session descriptions: offers of real programs there and back, and what is no description."""

from __future__ import annotations

from pathlib import Path

import pytest

from media.protocols import sdp
from media.protocols.errors import SdpError
from media.protocols.sdp import Description, Fragment, Rid

OFFERS = Path(__file__).parents[1] / "rtc" / "offers"
HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\n"


@pytest.mark.parametrize("path", sorted(OFFERS.glob("*.sdp")), ids=lambda path: path.stem)
def test_what_programs_offer_is_read_and_written_without_loss(path: Path) -> None:
    offer = Description.parse(path.read_bytes())
    again = Description.parse(offer.build().encode())
    assert again == offer
    assert {section.kind for section in offer.sections} == {"audio", "video"}
    for section in offer.sections:
        assert section.ufrag
        assert section.pwd
        assert section.fingerprints[0][0] == "sha-256"
        assert section.setup == "actpass"
        assert section.rtcp_mux
        assert section.mid in offer.bundles[0]


def test_what_chromium_says_of_simulcast_and_repairs() -> None:
    video = Description.parse((OFFERS / "chromium-simulcast.sdp").read_bytes()).sections[0]
    assert video.rids == [Rid("l", "send"), Rid("m", "send"), Rid("h", "send")]
    assert video.simulcast == {"send": ("l", "m", "h")}
    h264 = next(one for one in video.formats if one.name == "H264")
    assert h264.parameters["packetization-mode"] == "1"
    assert "nack pli" in h264.feedback
    assert video.repairs(h264.payload_type) == h264.payload_type + 1


def test_what_is_said_for_all_holds_in_each_section() -> None:
    video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\na=setup:active\r\n"
    said = Description.parse((HEAD + "a=setup:actpass\r\na=recvonly\r\na=ice-ufrag:abcd\r\n" + VIDEO + video).encode())
    first, second = said.sections
    assert (first.setup, first.direction, first.ufrag) == ("actpass", "recvonly", "abcd")
    assert (second.setup, second.direction, second.ufrag) == ("active", "sendonly", "abcd")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("hello", "Line 1 of the SDP is none"),
        ("m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "begins with"),
        ("v=0\r\no=- 1 IN IP4 127.0.0.1\r\ns=-\r\n", "o= has six parts"),
        (HEAD + "m=video\r\n", "A line m="),
        (HEAD + "m=video 99999 UDP/TLS/RTP/SAVPF 96\r\n", "cannot be"),
        (HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 128\r\n", "payload types"),
        (HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96 96\r\n", "twice"),
        (HEAD + VIDEO + "a=rtpmap:96 nonsense\r\n", "a=rtpmap"),
        (HEAD + VIDEO + "a=rtpmap:x H264/90000\r\n", "is a number"),
        (HEAD + VIDEO + "a=ice-ufrag:a b\r\n", "a=ice-ufrag"),
        (HEAD + VIDEO + "a=ice-pwd:short\r\n", "a=ice-pwd"),
        (HEAD + VIDEO + "a=fingerprint:sha-256 nothing\r\n", "a=fingerprint"),
        (HEAD + VIDEO + "a=setup:maybe\r\n", "a=setup"),
        (HEAD + VIDEO + "a=mid:two words\r\n", "a=mid"),
        (HEAD + VIDEO + "a=extmap:x urn:x\r\n", "a=extmap"),
        (HEAD + VIDEO + "a=extmap:1 urn:x\r\na=extmap:1 urn:y\r\n", "one id"),
        (HEAD + VIDEO + "a=rid:h sideways\r\n", "a=rid"),
        (HEAD + VIDEO + "a=rid:h send\r\na=rid:h send\r\n", "twice"),
        (HEAD + VIDEO + "a=simulcast:send\r\n", "a=simulcast"),
        (HEAD + VIDEO + "a=ssrc:99999999999 cname:x\r\n", "a=ssrc"),
        (HEAD + VIDEO + "a=mid:0\r\n" + VIDEO + "a=mid:0\r\n", "Two media sections"),
        (HEAD + "a=group:BUNDLE 0\r\n" + VIDEO, "not there"),
        (HEAD + "a=x:\0\r\n", "NUL"),
        (HEAD + "a=x\ry\r\n", "is none"),
        (HEAD + "a=" + "x" * sdp.MAX_LINE + "\r\n", "characters"),
        (HEAD + "a=x\r\n" * sdp.MAX_LINES, "lines"),
        (HEAD + VIDEO * (sdp.MAX_SECTIONS + 1), "media sections"),
        (HEAD + VIDEO + "a=candidate:1\r\n" * (sdp.MAX_CANDIDATES + 1), "candidates"),
        (HEAD + VIDEO + "".join(f"a=rid:{n} send\r\n" for n in range(sdp.MAX_RIDS + 1)), "a=rid"),
        (HEAD + VIDEO + "".join(f"a=ssrc:{n} x\r\n" for n in range(sdp.MAX_SOURCES + 1)), "sources"),
        (HEAD + "a=" + "x" * sdp.MAX_BYTES, "bytes"),
    ],
    ids=lambda value: value[:40] if len(value) < 41 else str(len(value)),
)
def test_what_is_no_description_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(SdpError, match=words):
        Description.parse(text.encode())


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(SdpError, match="UTF-8"):
        Description.parse(HEAD.encode() + b"a=\xff\r\n")


def test_a_fragment_there_and_back() -> None:
    fragment = Fragment("abcd", "p" * 24, ["1 1 udp 2130706431 192.0.2.1 8189 typ host"], end_of_candidates=True)
    assert Fragment.parse(fragment.build("video", "0").encode()) == fragment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n", "a=ice-ufrag"),
        ("a=ice-ufrag:abcd\r\n", "a=ice-pwd"),
        (
            f"a=ice-ufrag:abcd\r\na=ice-pwd:{'p' * 22}\r\nm=audio 9 RTP/AVP 0\r\na=ice-ufrag:efgh\r\n",
            "share a transport",
        ),
    ],
)
def test_what_is_no_fragment(text: str, words: str) -> None:
    with pytest.raises(SdpError, match=words):
        Fragment.parse(text.encode())
