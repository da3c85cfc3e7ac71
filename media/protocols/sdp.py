"""SDP as WebRTC uses it (RFC 8866): descriptions with media sections, and fragments of trickle ICE (RFC 8840).

Text in, values out, and back. What is read is bounded in every direction, so that a hostile description costs no more
than a long honest one. Attributes that mean nothing here are left out; those that do are read strictly. What a side may
say once for all sections (ICE, fingerprints, setup) is in each section, as it holds there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from media.protocols.errors import SdpError

MAX_BYTES = 64 * 1024
MAX_LINES = 2000
MAX_LINE = 2048
MAX_SECTIONS = 32
MAX_FORMATS = 128
MAX_CANDIDATES = 64
"""Of one section; a browser with many networks has some twenty."""
MAX_RIDS = 16
MAX_SOURCES = 64

DIRECTIONS = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_SETUPS = frozenset(("active", "passive", "actpass", "holdconn"))
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,64}")
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PWD = re.compile(r"[A-Za-z0-9+/]{22,256}")
_RID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_RTPMAP = re.compile(r"([!#-.0-9A-Z^-~]{1,32})/(\d{1,7})(?:/(\d{1,2}))?")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,16}) +((?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2})")
_SIMULCAST = re.compile(r"(send|recv) +([A-Za-z0-9_,;~-]{1,512})")


@dataclass(slots=True)
class RtpFormat:
    """One payload type. name: as the rtpmap spells it. channels: 1 unless it says so. parameters: fmtp, names in lower
    case; a part without `=` stands under "". feedback: rtcp-fb, as "nack pli"."""

    payload_type: int
    name: str = ""
    rate: int = 0
    channels: int = 1
    parameters: dict[str, str] = field(default_factory=dict)
    feedback: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name or str(self.payload_type)


class Rid(NamedTuple):
    """direction: send or recv. restrictions: `max-width=1280;…` as it stands, with pt= and all."""

    id: str
    direction: str
    restrictions: str = ""


@dataclass(slots=True)
class Section:
    """One m= line and what belongs to it. kind: audio, video, application. direction: its own, else the session's.

    extensions: header extensions, URI to id. sources: a=ssrc, SSRC to its attributes. groups: a=ssrc-group, semantics
    and SSRCs. simulcast: ids by direction, the first of each list of alternatives, without those marked as paused.
    """

    kind: str
    port: int = 9
    protocol: str = "UDP/TLS/RTP/SAVPF"
    formats: list[RtpFormat] = field(default_factory=list)
    mid: str = ""
    direction: str = "sendrecv"
    extensions: dict[str, int] = field(default_factory=dict)
    ufrag: str = ""
    pwd: str = ""
    fingerprints: tuple[tuple[str, str], ...] = ()
    setup: str = ""
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    bundle_only: bool = False
    extmap_allow_mixed: bool = False
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False
    rids: list[Rid] = field(default_factory=list)
    simulcast: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sources: dict[int, dict[str, str]] = field(default_factory=dict)
    groups: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    msid: str = ""
    tokens: list[str] = field(default_factory=list)
    """What stands after the protocol of an m= line that is not RTP: `webrtc-datachannel`."""

    @property
    def rejected(self) -> bool:
        """Port 0, unless it says that it is for a bundle alone (RFC 8843, 6)."""
        return self.port == 0 and not self.bundle_only

    @property
    def sends(self) -> bool:
        return self.direction in ("sendrecv", "sendonly")

    @property
    def receives(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")

    def repairs(self, payload_type: int) -> int:
        """The payload type of this one's retransmissions (RFC 4588), 0 when there is none."""
        for format in self.formats:
            if format.name.lower() == "rtx" and format.parameters.get("apt") == str(payload_type):
                return format.payload_type
        return 0

    def lines(self) -> Iterator[str]:
        what = self.tokens or [str(format.payload_type) for format in self.formats] or ["0"]
        yield f"m={self.kind} {self.port} {self.protocol} {' '.join(what)}"
        yield "c=IN IP4 0.0.0.0"
        if self.mid:
            yield f"a=mid:{self.mid}"
        if self.port == 0:
            if not self.bundle_only:
                yield f"a={self.direction}"
                return
            yield "a=bundle-only"
        yield f"a={self.direction}"
        yield from _transport_lines(self)
        for uri, id in self.extensions.items():
            yield f"a=extmap:{id} {uri}"
        if self.msid:
            yield f"a=msid:{self.msid}"
        for format in self.formats:
            yield from _format_lines(format)
        for rid in self.rids:
            yield f"a=rid:{rid.id} {rid.direction}" + (f" {rid.restrictions}" if rid.restrictions else "")
        if self.simulcast:
            yield "a=simulcast:" + " ".join(f"{way} {';'.join(ids)}" for way, ids in self.simulcast.items())
        for semantics, ssrcs in self.groups:
            yield f"a=ssrc-group:{semantics} {' '.join(map(str, ssrcs))}"
        for ssrc, values in self.sources.items():
            for name, value in values.items():
                yield f"a=ssrc:{ssrc} {name}" + (f":{value}" if value else "")
        for candidate in self.candidates:
            yield f"a=candidate:{candidate}"
        if self.end_of_candidates:
            yield "a=end-of-candidates"


@dataclass(slots=True)
class Description:
    """An offer or an answer. bundles: a=group:BUNDLE, lists of mids. lite: a=ice-lite."""

    sections: list[Section] = field(default_factory=list)
    bundles: list[tuple[str, ...]] = field(default_factory=list)
    lite: bool = False
    session_id: str = "0"
    version: int = 0

    @classmethod
    def parse(cls, data: bytes, *, max_bytes: int = MAX_BYTES) -> Self:
        """Raises SdpError."""
        lines = _lines_of(data, max_bytes)
        if len(lines) < 3 or lines[0] != "v=0" or not lines[1].startswith("o=") or not lines[2].startswith("s="):
            raise SdpError("An SDP begins with the lines v=0, o= and s= (RFC 8866).")
        origin = lines[1][2:].split(" ")
        if len(origin) != 6 or not _number(origin[2], 20):
            raise SdpError("The line o= has six parts (RFC 8866, 5.2).")
        found = cls(session_id=origin[1], version=int(origin[2]))
        session = Section(kind="")
        section = session
        for line in lines[3:]:
            kind, value = line[0], line[2:]
            if kind == "m":
                if len(found.sections) >= MAX_SECTIONS:
                    raise SdpError(f"An SDP has at most {MAX_SECTIONS} media sections here.")
                section = _media(value)
                section.direction = session.direction
                found.sections.append(section)
            elif kind == "a":
                name, _, rest = value.partition(":")
                if section is session and name == "group":
                    found._group(rest)
                elif section is session and name == "ice-lite":
                    found.lite = True
                else:
                    _attribute(section, name, rest, value)
        found._settle(session)
        return found

    def build(self) -> str:
        lines = ["v=0", f"o=- {self.session_id} {self.version} IN IP4 127.0.0.1", "s=-", "t=0 0"]
        lines += [f"a=group:BUNDLE {' '.join(mids)}" for mids in self.bundles]
        if self.lite:
            lines.append("a=ice-lite")
        for section in self.sections:
            lines += section.lines()
        return "\r\n".join(lines) + "\r\n"

    def _group(self, value: str) -> None:
        semantics, *mids = value.split()
        if semantics != "BUNDLE":
            return
        if len(mids) > MAX_SECTIONS or len(self.bundles) >= MAX_SECTIONS or not all(map(_TOKEN.fullmatch, mids)):
            raise SdpError("The line a=group:BUNDLE cannot be read.")
        self.bundles.append(tuple(mids))

    def _settle(self, session: Section) -> None:
        """What was said for all sections, and what has to fit together."""
        mids = set()
        for section in self.sections:
            section.ufrag = section.ufrag or session.ufrag
            section.pwd = section.pwd or session.pwd
            section.fingerprints = section.fingerprints or session.fingerprints
            section.setup = section.setup or session.setup
            section.extensions = {**session.extensions, **section.extensions}
            section.extmap_allow_mixed = section.extmap_allow_mixed or session.extmap_allow_mixed
            if len(set(section.extensions.values())) != len(section.extensions):
                raise SdpError("Two header extensions have one id (a=extmap).")
            if section.mid in mids:
                raise SdpError(f"Two media sections are called a=mid:{section.mid}.")
            if section.mid:
                mids.add(section.mid)
        named = [mid for bundle in self.bundles for mid in bundle]
        if len(named) != len(set(named)) or not mids.issuperset(named):
            raise SdpError("The line a=group:BUNDLE names a section that is not there, or one twice.")


@dataclass(slots=True)
class Fragment:
    """A trickle-ice-sdpfrag: what a side found out since, or its new ICE credentials (RFC 8840, RFC 9725)."""

    ufrag: str = ""
    pwd: str = ""
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False

    @classmethod
    def parse(cls, data: bytes, *, max_bytes: int = MAX_BYTES) -> Self:
        """Raises SdpError."""
        session = section = Section(kind="")
        everything = [session]
        for line in _lines_of(data, max_bytes):
            if line[0] == "m":
                if len(everything) > MAX_SECTIONS:
                    raise SdpError(f"A fragment has at most {MAX_SECTIONS} media sections here.")
                section = _media(line[2:])
                everything.append(section)
            elif line[0] == "a":
                name, _, rest = line[2:].partition(":")
                _attribute(section, name, rest, line[2:])
        credentials = {(one.ufrag, one.pwd) for one in everything if one.ufrag or one.pwd}
        if len(credentials) > 1:
            raise SdpError("A fragment has one a=ice-ufrag and one a=ice-pwd: all sections share a transport.")
        ufrag, pwd = credentials.pop() if credentials else ("", "")
        if not ufrag or not pwd:
            raise SdpError("A fragment says a=ice-ufrag and a=ice-pwd, to show which ICE session it belongs to.")
        candidates = [candidate for one in everything for candidate in one.candidates]
        return cls(ufrag, pwd, candidates, any(one.end_of_candidates for one in everything))

    def build(self, kind: str, mid: str) -> str:
        """kind, mid: of the section that the transport of all is told in."""
        lines = [f"a=ice-ufrag:{self.ufrag}", f"a=ice-pwd:{self.pwd}", f"m={kind} 9 UDP/TLS/RTP/SAVPF 0"]
        if mid:
            lines.append(f"a=mid:{mid}")
        lines += [f"a=candidate:{candidate}" for candidate in self.candidates]
        if self.end_of_candidates:
            lines.append("a=end-of-candidates")
        return "\r\n".join(lines) + "\r\n"


def _lines_of(data: bytes, max_bytes: int) -> list[str]:
    """Every line as `x=…`, without its end."""
    if len(data) > max_bytes:
        raise SdpError(f"The SDP has {len(data)} bytes; at most {max_bytes} are read.")
    if b"\0" in data:
        raise SdpError("The SDP has a NUL in it.")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise SdpError("The SDP is no UTF-8 text.") from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise SdpError("The SDP is empty.")
    if len(lines) > MAX_LINES:
        raise SdpError(f"The SDP has {len(lines)} lines; at most {MAX_LINES} are read.")
    for at, line in enumerate(lines):
        lines[at] = line = line.removesuffix("\r")
        if len(line) > MAX_LINE:
            raise SdpError(f"Line {at + 1} of the SDP has {len(line)} characters; at most {MAX_LINE} are read.")
        if len(line) < 2 or line[1] != "=" or not "a" <= line[0] <= "z" or "\r" in line:
            raise SdpError(f"Line {at + 1} of the SDP is none: each is a letter, = and a value.")
    return lines


def _media(value: str) -> Section:
    parts = value.split(" ")
    if len(parts) < 4 or not _TOKEN.fullmatch(parts[0]) or not _number(parts[1].partition("/")[0], 5):
        raise SdpError("A line m= has a kind, a port, a protocol and formats.")
    kind, port, protocol, *formats = parts
    number = int(port.partition("/")[0])
    if number > 65535 or len(protocol) > 64 or len(formats) > MAX_FORMATS:
        raise SdpError(f"A line m= cannot be: its port is up to 65535, and it has at most {MAX_FORMATS} formats.")
    section = Section(kind=kind, port=number, protocol=protocol)
    if "RTP/" not in protocol:
        section.tokens = formats
        return section
    for format in formats:
        if not _number(format, 3) or int(format) > 127:
            raise SdpError("The formats of a line m= with RTP are payload types, 0 to 127.")
        section.formats.append(RtpFormat(int(format)))
    if len({format.payload_type for format in section.formats}) != len(formats):
        raise SdpError("A line m= names a payload type twice.")
    return section


def _attribute(section: Section, name: str, value: str, line: str) -> None:
    if line in DIRECTIONS:
        section.direction = line
    elif (read := _READERS.get(name)) is not None:
        read(section, value)


def _format_of(section: Section, text: str) -> RtpFormat | None:
    """None for one that the m= line does not name: such lines mean nothing."""
    if not _number(text, 3):
        raise SdpError("A payload type is a number.")
    number = int(text)
    return next((format for format in section.formats if format.payload_type == number), None)


def _rtpmap(section: Section, value: str) -> None:
    number, _, rest = value.partition(" ")
    found = _RTPMAP.fullmatch(rest.strip())
    if found is None:
        raise SdpError("A line a=rtpmap has a payload type, a name and a clock rate: 96 H264/90000.")
    format = _format_of(section, number)
    if format is not None:
        format.name, format.rate = found[1], int(found[2])
        format.channels = int(found[3]) if found[3] else 1


def _fmtp(section: Section, value: str) -> None:
    number, _, rest = value.partition(" ")
    format = _format_of(section, number)
    if format is None:
        return
    for part in rest.split(";"):
        key, equals, parameter = part.strip().partition("=")
        if equals:
            format.parameters[key.strip().lower()] = parameter.strip()
        elif key:
            format.parameters[""] = key


def _rtcp_fb(section: Section, value: str) -> None:
    number, _, rest = value.partition(" ")
    kind = " ".join(rest.split())
    if number == "*":
        formats = section.formats
    else:
        format = _format_of(section, number)
        formats = [] if format is None else [format]
    for format in formats:
        if kind not in format.feedback:
            format.feedback.append(kind)


def _extmap(section: Section, value: str) -> None:
    number, _, rest = value.partition(" ")
    id = number.partition("/")[0]
    uri = rest.partition(" ")[0]
    if not _number(id, 4) or not uri:
        raise SdpError("A line a=extmap has an id and a URI.")
    if int(id) in range(1, 256) and int(id) != 15:  # 4096 and above is for negotiating later, 0 and 15 are no ids
        section.extensions[uri] = int(id)


def _mid(section: Section, value: str) -> None:
    if not _TOKEN.fullmatch(value):
        raise SdpError("A line a=mid has a name without spaces, of 64 characters at most.")
    section.mid = value


def _ufrag(section: Section, value: str) -> None:
    if not _UFRAG.fullmatch(value):
        raise SdpError("a=ice-ufrag is 4 to 256 letters, digits, + and / (RFC 8839, 5.4).")
    section.ufrag = value


def _pwd(section: Section, value: str) -> None:
    if not _PWD.fullmatch(value):
        raise SdpError("a=ice-pwd is 22 to 256 letters, digits, + and / (RFC 8839, 5.4).")
    section.pwd = value


def _fingerprint(section: Section, value: str) -> None:
    found = _FINGERPRINT.fullmatch(value.strip())
    if found is None:
        raise SdpError("a=fingerprint is the name of a hash and its bytes: sha-256 AB:CD:… (RFC 8122, 5).")
    if len(section.fingerprints) < 8:
        section.fingerprints = (*section.fingerprints, (found[1].lower(), found[2].upper()))


def _setup(section: Section, value: str) -> None:
    if value not in _SETUPS:
        raise SdpError("a=setup is active, passive or actpass (RFC 8842).")
    section.setup = value


def _candidate(section: Section, value: str) -> None:
    if len(section.candidates) >= MAX_CANDIDATES:
        raise SdpError(f"A section has at most {MAX_CANDIDATES} candidates here.")
    section.candidates.append(value)


def _rid(section: Section, value: str) -> None:
    id, _, rest = value.partition(" ")
    direction, _, restrictions = rest.partition(" ")
    if not _RID.fullmatch(id) or direction not in ("send", "recv"):
        raise SdpError("A line a=rid has an id of letters, digits, - and _, and send or recv (RFC 8851).")
    if len(section.rids) >= MAX_RIDS:
        raise SdpError(f"A section has at most {MAX_RIDS} lines a=rid here.")
    if any(known.id == id for known in section.rids):
        raise SdpError(f"a=rid:{id} is there twice.")
    section.rids.append(Rid(id, direction, restrictions))


def _simulcast(section: Section, value: str) -> None:
    rest = value.strip()
    while rest:
        found = _SIMULCAST.match(rest)
        if found is None or found[1] in section.simulcast:
            raise SdpError("A line a=simulcast has send or recv and ids: send h;m;l (RFC 8853).")
        firsts = [stream.partition(",")[0] for stream in found[2].split(";")]
        section.simulcast[found[1]] = tuple(id for id in firsts if id and not id.startswith("~"))
        rest = rest[found.end() :].strip()


def _ssrc(section: Section, value: str) -> None:
    number, _, rest = value.partition(" ")
    if not _number(number, 10) or int(number) > 0xFFFFFFFF:
        raise SdpError("A line a=ssrc begins with a number of 32 bits (RFC 5576).")
    ssrc = int(number)
    if ssrc not in section.sources and len(section.sources) >= MAX_SOURCES:
        raise SdpError(f"A section has at most {MAX_SOURCES} sources (a=ssrc) here.")
    name, _, text = rest.partition(":")
    section.sources.setdefault(ssrc, {})[name] = text


def _ssrc_group(section: Section, value: str) -> None:
    semantics, *numbers = value.split(" ")
    if not all(_number(number, 10) and int(number) <= 0xFFFFFFFF for number in numbers) or len(numbers) > MAX_SOURCES:
        raise SdpError("A line a=ssrc-group has a name and numbers of 32 bits (RFC 5576).")
    if len(section.groups) < MAX_SOURCES:
        section.groups.append((semantics, tuple(map(int, numbers))))


def _msid(section: Section, value: str) -> None:
    section.msid = section.msid or value


def _flag(name: str) -> Callable[[Section, str], None]:
    def read(section: Section, value: str) -> None:
        setattr(section, name, True)

    return read


_READERS: Mapping[str, Callable[[Section, str], None]] = {
    "rtpmap": _rtpmap,
    "fmtp": _fmtp,
    "rtcp-fb": _rtcp_fb,
    "extmap": _extmap,
    "mid": _mid,
    "ice-ufrag": _ufrag,
    "ice-pwd": _pwd,
    "fingerprint": _fingerprint,
    "setup": _setup,
    "candidate": _candidate,
    "rid": _rid,
    "simulcast": _simulcast,
    "ssrc": _ssrc,
    "ssrc-group": _ssrc_group,
    "msid": _msid,
    "rtcp-mux": _flag("rtcp_mux"),
    "rtcp-rsize": _flag("rtcp_rsize"),
    "bundle-only": _flag("bundle_only"),
    "extmap-allow-mixed": _flag("extmap_allow_mixed"),
    "end-of-candidates": _flag("end_of_candidates"),
}


def _transport_lines(section: Section) -> Iterator[str]:
    if section.ufrag:
        yield f"a=ice-ufrag:{section.ufrag}"
        yield f"a=ice-pwd:{section.pwd}"
    for algorithm, value in section.fingerprints:
        yield f"a=fingerprint:{algorithm} {value}"
    if section.setup:
        yield f"a=setup:{section.setup}"
    if section.rtcp_mux:
        yield "a=rtcp-mux"
    if section.rtcp_rsize:
        yield "a=rtcp-rsize"
    if section.extmap_allow_mixed:
        yield "a=extmap-allow-mixed"


def _format_lines(format: RtpFormat) -> Iterator[str]:
    if not format.name:
        return
    channels = f"/{format.channels}" if format.channels > 1 else ""
    yield f"a=rtpmap:{format.payload_type} {format.name}/{format.rate}{channels}"
    for kind in format.feedback:
        yield f"a=rtcp-fb:{format.payload_type} {kind}"
    if format.parameters:
        parts = (f"{name}={value}" if name else value for name, value in format.parameters.items())
        yield f"a=fmtp:{format.payload_type} {';'.join(parts)}"


def _number(text: str, digits: int) -> bool:
    return 0 < len(text) <= digits and text.isascii() and text.isdigit()
