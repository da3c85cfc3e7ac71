"""From an offer to an answer (RFC 3264, RFC 9429): what of it we take, in our order of preference.

An Agreement is a value: made of an offer and of what one side wants, it says what was agreed section by section, and
writes the answer once the peer's side of ICE and DTLS is known. Everything runs over one transport (BUNDLE, rtcp-mux);
what does not fit is rejected with port 0, and the offer as a whole only when nothing is left.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from media.protocols.errors import SdpError
from media.protocols.rtp.packet import ABS_SEND_TIME, AUDIO_LEVEL, MID, REPAIRED_RID, RID, TRANSPORT_CC
from media.protocols.sdp import Description, Rid, RtpFormat, Section
from media.rtc.options import IceDtlsParameters
from media.samples import Codec, Kind

HIGHEST_LEVEL = "34"
"""Of H.264 that is received, 5.2: nothing is decoded here, so the sender need not keep below its own offer."""
MAX_LAYERS = 4
"""Simulcast streams that are taken of one section."""
_RTP = frozenset(("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "TCP/TLS/RTP/SAVPF", "RTP/SAVPF"))
_LEVEL = re.compile(r"[0-9A-Fa-f]{6}")
_FEEDBACK = ("nack", "nack pli", "ccm fir", "transport-cc", "goog-remb")
_BOTH_WAYS = (MID, TRANSPORT_CC, ABS_SEND_TIME)
_RECEIVED = (*_BOTH_WAYS, RID, REPAIRED_RID, AUDIO_LEVEL)


class NothingInCommon(SdpError):
    """Well formed, but nothing in it can be taken. offered, taken: names of codecs; rejected: why, per section."""

    def __init__(self, reason: str, offered: Sequence[str], taken: Sequence[str], rejected: Sequence[str]) -> None:
        super().__init__(reason)
        self.offered = list(offered)
        self.taken = list(taken)
        self.rejected = list(rejected)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One codec that is taken. profile: of H.264, the first byte of profile-level-id, to be preferred."""

    codec: Codec
    profile: int = 0


@dataclass(frozen=True, slots=True)
class Agreed:
    """One codec in one section. rtx: payload type of its retransmissions, 0 when there are none."""

    codec: Codec
    format: RtpFormat
    rtx: int


@dataclass(slots=True)
class AgreedSection:
    """offered: as it came. formats: in our order, never empty. extensions: URI to id. rids: simulcast streams that are
    taken. why: a sentence when it is rejected, and then there is nothing else."""

    offered: Section
    formats: list[Agreed] = field(default_factory=list)
    extensions: dict[str, int] = field(default_factory=dict)
    feedback: frozenset[str] = frozenset()
    rids: tuple[str, ...] = ()
    why: str = ""

    @property
    def kind(self) -> Kind:
        return Kind(self.offered.kind)

    @property
    def mid(self) -> str:
        return self.offered.mid

    @property
    def transport_cc(self) -> bool:
        return TRANSPORT_CC in self.extensions and "transport-cc" in self.feedback


@dataclass(frozen=True, slots=True)
class Stream:
    """What we send in a section. msid: `stream track`."""

    ssrc: int
    rtx_ssrc: int
    cname: str
    msid: str


class Agreement:
    """Made by `take`. receives: the other side sends."""

    def __init__(self, offer: Description, sections: Sequence[AgreedSection], *, receives: bool) -> None:
        self.offer = offer
        self.every = list(sections)
        self._receives = receives
        self._session_id = str(secrets.randbits(62))

    @property
    def sections(self) -> list[AgreedSection]:
        """Those that are not rejected."""
        return [section for section in self.every if not section.why]

    def of(self, kind: Kind) -> AgreedSection | None:
        return next((section for section in self.sections if section.kind is kind), None)

    def without(self, kind: Kind) -> AgreedSection | None:
        """The section of this kind that was offered when none could be taken."""
        if self.of(kind) is not None:
            return None
        return next((one for one in self.every if one.offered.kind == kind and not one.offered.rejected), None)

    @property
    def remote(self) -> IceDtlsParameters:
        """What the other side said of its ICE and DTLS."""
        first = self.sections[0].offered
        return IceDtlsParameters(
            ufrag=first.ufrag, pwd=first.pwd, fingerprints=first.fingerprints, setup=first.setup or "actpass"
        )

    def answer(
        self,
        local: IceDtlsParameters,
        candidates: Sequence[str],
        streams: Mapping[str, Stream] | None = None,
        start_bitrate: int = 0,
    ) -> str:
        """local: our side. candidates: lines `a=candidate:…`. streams: by mid, what we send. start_bitrate: kbit/s of
        picture that a browser may begin with, before it knows the network; 0: what it would by itself."""
        taken = self.sections
        bundled = tuple(section.mid for section in taken if section.mid)
        answer = Description(
            sections=[self._section(one, local, candidates, streams or {}, start_bitrate) for one in self.every],
            bundles=[bundled] if self.offer.bundles and bundled else [],
            lite=True,
            session_id=self._session_id,
        )
        return answer.build()

    def _section(
        self,
        agreed: AgreedSection,
        local: IceDtlsParameters,
        candidates: Sequence[str],
        streams: Mapping[str, Stream],
        start_bitrate: int,
    ) -> Section:
        offered = agreed.offered
        answer = Section(kind=offered.kind, port=0, protocol=offered.protocol, mid=offered.mid)
        if agreed.why:
            answer.formats, answer.tokens = offered.formats[:1], offered.tokens
            answer.direction = "inactive"
            return answer
        answer.port = 9
        answer.direction = "recvonly" if self._receives else "sendonly"
        answer.ufrag, answer.pwd = local.ufrag, local.pwd
        answer.fingerprints, answer.setup = local.fingerprints, local.setup
        answer.rtcp_mux, answer.rtcp_rsize = True, offered.rtcp_rsize
        answer.extmap_allow_mixed = offered.extmap_allow_mixed
        answer.extensions = dict(agreed.extensions)
        for one in agreed.formats:
            format = self._format(one, agreed.feedback)
            if start_bitrate and agreed.kind is Kind.VIDEO:
                format.parameters["x-google-start-bitrate"] = str(start_bitrate)
            answer.formats.append(format)
        for one in agreed.formats:
            if one.rtx:
                apt = {"apt": str(one.format.payload_type)}
                answer.formats.append(RtpFormat(one.rtx, "rtx", one.format.rate, parameters=apt))
        if agreed.rids:
            answer.rids = [Rid(rid, "recv") for rid in agreed.rids]
            answer.simulcast = {"recv": agreed.rids}
        if (stream := streams.get(offered.mid)) is not None:
            answer.msid = stream.msid
            answer.sources[stream.ssrc] = {"cname": stream.cname, "msid": stream.msid}
            if stream.rtx_ssrc and any(one.rtx for one in agreed.formats):
                answer.sources[stream.rtx_ssrc] = {"cname": stream.cname, "msid": stream.msid}
                answer.groups.append(("FID", (stream.ssrc, stream.rtx_ssrc)))
        answer.candidates = [line.removeprefix("a=candidate:") for line in candidates]
        answer.end_of_candidates = True
        return answer

    def _format(self, agreed: Agreed, feedback: frozenset[str]) -> RtpFormat:
        offered = agreed.format
        parameters = dict(offered.parameters)
        if agreed.codec is Codec.OPUS:
            parameters = {name: offered.parameters[name] for name in ("minptime",) if name in offered.parameters}
            parameters |= {"stereo": "1", "useinbandfec": "1"}
        elif agreed.codec is Codec.H264:
            kept = ("profile-level-id", "packetization-mode", "level-asymmetry-allowed")
            parameters = {name: offered.parameters[name] for name in kept if name in offered.parameters}
            if self._receives and parameters.get("level-asymmetry-allowed") == "1" and "profile-level-id" in parameters:
                parameters["profile-level-id"] = parameters["profile-level-id"][:4] + HIGHEST_LEVEL
        return RtpFormat(
            offered.payload_type,
            offered.name,
            offered.rate,
            offered.channels,
            parameters,
            [kind for kind in offered.feedback if kind in feedback],
        )


def take(offer: Description, wanted: Sequence[Wanted], *, receive: bool, every: bool = False) -> Agreement:
    """What of an offer is taken: the first section of each kind.

    wanted: codecs in our order. receive: the other side sends (WHIP), else it receives (WHEP). every: one format of
    each codec that both sides have, instead of the first alone. Raises NothingInCommon; SdpError for what cannot be.
    """
    if not offer.sections:
        raise SdpError("The offer has no media section (m=).")
    bundle = offer.bundles[0] if offer.bundles else ()
    taken: list[AgreedSection] = []
    sections = []
    for section in offer.sections:
        agreed = AgreedSection(section)
        sections.append(agreed)
        agreed.why = _misfit(section, taken, bundle, receive=receive)
        if agreed.why:
            continue
        agreed.formats = _formats(section, wanted, receive=receive, every=every)
        if not agreed.formats:
            names = ", ".join(_names(section)) or "none"
            agreed.why = f"{_called(section)} has no codec that is taken here: {names}"
            continue
        _check_transport(section)
        uris = _RECEIVED if receive else _BOTH_WAYS
        agreed.extensions = {uri: id for uri, id in section.extensions.items() if uri in uris}
        unused = "goog-remb" if TRANSPORT_CC in agreed.extensions else "transport-cc"
        offered = {kind for one in agreed.formats for kind in one.format.feedback}
        agreed.feedback = frozenset(kind for kind in _FEEDBACK if kind in offered and kind != unused)
        if receive and section.kind == "video":
            sending = {rid.id for rid in section.rids if rid.direction == "send"}
            ids = [rid for rid in section.simulcast.get("send", ()) if rid in sending]
            agreed.rids = tuple(dict.fromkeys(ids))[:MAX_LAYERS]
        taken.append(agreed)
    if not taken:
        raise _nothing(sections, wanted)
    return Agreement(offer, sections, receives=receive)


def _misfit(section: Section, taken: Sequence[AgreedSection], bundle: Sequence[str], *, receive: bool) -> str:
    """Why a section cannot be taken whatever its codecs are, "" when it can."""
    called = _called(section)
    if section.rejected:
        return f"{called} is not offered (port 0)"
    if section.kind not in ("audio", "video"):
        return f"{called} is neither sound nor picture"
    if section.protocol not in _RTP:
        return f"{called} has the protocol {section.protocol}; UDP/TLS/RTP/SAVPF is taken"
    if receive and not section.sends:
        return f"{called} does not send (a={section.direction})"
    if not receive and not section.receives:
        return f"{called} does not receive (a={section.direction})"
    if any(other.kind == section.kind for other in taken):
        return f"{called} is a second one of its kind"
    if taken and not (section.mid in bundle and taken[0].mid in bundle):
        return f"{called} is not in one BUNDLE with the first: all share one transport"
    if not section.rtcp_mux:
        return f"{called} has no a=rtcp-mux"
    return ""


def _check_transport(section: Section) -> None:
    if not section.ufrag or not section.pwd:
        raise SdpError(f"{_called(section)} has no a=ice-ufrag or a=ice-pwd.")
    if not section.fingerprints:
        raise SdpError(f"{_called(section)} has no a=fingerprint: media is encrypted by DTLS-SRTP.")
    if section.setup == "holdconn":
        raise SdpError(f"{_called(section)} has a=setup:holdconn; offer actpass.")


def _formats(section: Section, wanted: Sequence[Wanted], *, receive: bool, every: bool) -> list[Agreed]:
    found: list[Agreed] = []
    for wish in wanted:
        fits, best = _FITS[wish.codec], None
        for format in section.formats:
            if not fits(format, receive):
                continue
            if best is None:
                best = format
            if not wish.profile or _profile(format) == wish.profile:
                best = format
                break
        if best is not None:
            found.append(Agreed(wish.codec, best, section.repairs(best.payload_type)))
            if not every:
                break
    return found


def _profile(format: RtpFormat) -> int:
    return int(format.parameters.get("profile-level-id", "420010")[:2], 16)


def _h264(format: RtpFormat, receive: bool) -> bool:
    """Received are both packetization modes; sent are fragments, which only mode 1 has. Profiles of more than 8 bits or
    4:2:0 are nothing for players."""
    if format.name.upper() != "H264" or format.rate != 90_000:
        return False
    if format.parameters.get("packetization-mode", "0") not in (("0", "1") if receive else ("1",)):
        return False
    level = format.parameters.get("profile-level-id", "420010")
    return _LEVEL.fullmatch(level) is not None and int(level, 16) >> 16 in (0x42, 0x4D, 0x58, 0x64)


def _opus(format: RtpFormat, _receive: bool) -> bool:
    return format.name.lower() == "opus" and format.rate == 48_000 and format.channels == 2


def _vp9(format: RtpFormat, _receive: bool) -> bool:
    """Profile 0: eight bits, 4:2:0."""
    return format.name.upper() == "VP9" and format.rate == 90_000 and _says(format, "profile-id", "0")


def _av1(format: RtpFormat, _receive: bool) -> bool:
    """The main profile."""
    return format.name.upper() == "AV1" and format.rate == 90_000 and _says(format, "profile", "0")


def _says(format: RtpFormat, parameter: str, value: str) -> bool:
    """Whether it has that value, which is also what silence means."""
    return format.parameters.get(parameter, value) == value


_FITS: Mapping[Codec, Callable[[RtpFormat, bool], bool]] = {
    Codec.H264: _h264,
    Codec.OPUS: _opus,
    Codec.VP9: _vp9,
    Codec.AV1: _av1,
}
_AUXILIARY = frozenset(("rtx", "red", "ulpfec", "flexfec-03", "telephone-event", "cn"))


def _called(section: Section) -> str:
    return f"Section {section.kind}" + (f" (a=mid:{section.mid})" if section.mid else "")


def _names(section: Section) -> list[str]:
    """Of the codecs of a section, each once."""
    names = (str(format) for format in section.formats if str(format).lower() not in _AUXILIARY)
    return list(dict.fromkeys(names))


def _nothing(sections: Sequence[AgreedSection], wanted: Sequence[Wanted]) -> NothingInCommon:
    offered = list(dict.fromkeys(name for one in sections for name in _names(one.offered)))
    taken = [_SPELLED[wish.codec] for wish in wanted]
    why = [one.why for one in sections]
    return NothingInCommon(
        f"Nothing in the offer can be taken: {'; '.join(why[:4])}. Taken are {', '.join(taken)}.", offered, taken, why
    )


_SPELLED = {Codec.H264: "H264", Codec.OPUS: "opus", Codec.VP9: "VP9", Codec.AV1: "AV1"}
