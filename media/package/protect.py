"""Files of a CMAF set as they are handed out encrypted: init segments, fragments, playlists, manifest. Pure.

The plain set is what is kept; an encrypted file is made of a plain one and a key, each time the same. Two schemes:

    aes-128    whole segments in CBC mode (RFC 8216, 4.3.2.4 and 5.2), for HLS alone; init segments stay plain
    clearkey   Common Encryption `cenc` (ISO/IEC 23001-7) with the key told by EME's Clear Key, for HLS and DASH

What is encrypted has a name of its own for each key, `{tag}.{plain name}`, so that it can be kept for good by caches.
The IV of an AES-128 segment is the number in its name: its sequence number, or told in the playlist where it is not.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from media.package.sample_entries import box, full_box
from media.protocols.cenc import BLOCK, IV_BYTES, Encryption, Subsample, can_protect, subsamples
from media.protocols.errors import MediaError
from media.samples import Codec

COMMON_SYSTEM = UUID("1077efec-c0b2-4d02-ace3-3c1e52e2fb4b").bytes
"""W3C: a pssh that names key ids and nothing else, which Clear Key reads."""
CLEARKEY_SCHEME = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
KEY_FORMAT = "org.w3.clearkey"
LICENSE = "license"
"""Beside the segments: where a player asks for keys."""
ENTRIES = {
    b"avc1": Codec.H264, b"avc3": Codec.H264, b"hvc1": Codec.HEVC, b"hev1": Codec.HEVC,
    b"mp4a": Codec.AAC, b"Opus": Codec.OPUS,
}  # fmt: skip
VISUAL, AUDIBLE = 78, 28
"""Bytes of a sample entry before its boxes."""
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_URI = re.compile(r'(URI=")([^"]+)(")')
_NUMBER = re.compile(r"-([0-9]{1,18})\.m4s$", re.ASCII)
_CODECS = re.compile(r'codecs?="([^"]*)"', re.IGNORECASE)
_SET = re.compile(r'<AdaptationSet [^>]*contentType="(?:video|audio)"[^>]*>')


class Key(NamedTuple):
    """id: 16 bytes that all may know; secret: 16 bytes."""

    id: bytes
    secret: bytes

    @property
    def tag(self) -> str:
        return tag_of(UUID(bytes=self.id))


class Form(NamedTuple):
    """What has to be known of a track to encrypt its fragments. length_size: of a NAL unit's length."""

    codec: Codec
    length_size: int


def tag_of(key_id: UUID) -> str:
    """16 characters that stand before the names of what this key encrypts: the random part of the id."""
    return key_id.hex[16:]


def split_name(name: str) -> tuple[str, str]:
    """The tag, "" when it has none, and the plain name."""
    tag, dot, plain = name.partition(".")
    return (tag, plain) if dot and len(tag) == 16 and "." in plain else ("", name)


# whole segments


def aes_128(segment: bytes, secret: bytes, number: int) -> bytes:
    """With PKCS #7 padding; the IV is the number, 16 bytes big endian."""
    pad = BLOCK - len(segment) % BLOCK
    cipher = Cipher(AES(secret), CBC(number.to_bytes(BLOCK, "big"))).encryptor()
    return cipher.update(segment + bytes((pad,)) * pad)


def number_of(name: str) -> int:
    """The number in a segment's name. Raises MediaError."""
    match = _NUMBER.search(name)
    if match is None:
        raise MediaError("the segment's name has no number")
    return int(match[1])


# samples


def form_of(init: bytes) -> Form:
    """Raises MediaError for a codec that is not encrypted here."""
    at, end = _stsd(init)
    kind = init[at + 4 : at + 8]
    codec = ENTRIES.get(kind)
    if codec is None:
        raise MediaError(f"{kind.decode('latin-1')} is not encrypted")
    if codec in (Codec.AAC, Codec.OPUS):
        return Form(codec, 0)
    name, place = (b"avcC", 4) if codec is Codec.H264 else (b"hvcC", 21)
    for inner, start, _ in _boxes(init, at + 8 + VISUAL, end):
        if inner == name:
            return Form(codec, (init[start + 8 + place] & 3) + 1)
    raise MediaError("the sample entry has no decoder configuration")


def protected_init(init: bytes, key_id: bytes) -> bytes:
    """The sample entry becomes encv or enca with a sinf (tenc: IVs of 8 bytes, which stand with the samples); moov gets
    a pssh. Raises MediaError."""
    form = form_of(init)
    at, end = _stsd(init)
    tenc = full_box(b"tenc", 0, 0, bytes((0, 0, 1, IV_BYTES)), key_id)
    sinf = box(
        b"sinf",
        box(b"frma", init[at + 4 : at + 8]),
        full_box(b"schm", 0, 0, b"cenc", struct.pack(">I", 0x10000)),
        box(b"schi", tenc),
    )
    pssh = full_box(b"pssh", 1, 0, COMMON_SYSTEM, struct.pack(">I", 1), key_id, bytes(4))
    out = bytearray(init)
    kind = b"enca" if form.codec in (Codec.AAC, Codec.OPUS) else b"encv"
    out[at + 4 : at + 8] = kind
    for place in _around(init, at):
        grown = len(sinf) + (len(pssh) if init[place + 4 : place + 8] == b"moov" else 0)
        struct.pack_into(">I", out, place, _size(init, place) + grown)
    (moov,) = (place for place in _around(init, at) if init[place + 4 : place + 8] == b"moov")
    out[moov + _size(init, moov) : moov + _size(init, moov)] = pssh
    out[end:end] = sinf
    return bytes(out)


def protected_segment(segment: bytes, form: Form, key: Key) -> bytes:
    """A segment of one or more fragments as `media.package.cmaf` writes them. Raises MediaError.

    The IVs follow from the segment's own bytes: counted on from there, one a sample, so that no two different samples
    of a video are ever encrypted alike, also when its file is replaced and its key is not.
    """
    count = int.from_bytes(hashlib.blake2b(segment, digest_size=IV_BYTES, key=key.id).digest(), "big")
    out: list[bytes] = []
    at = 0
    while at < len(segment):
        size = _size(segment, at)
        kind = segment[at + 4 : at + 8]
        if kind != b"moof":
            out.append(segment[at : at + size])
            at += size
            continue
        mdat = at + size
        if segment[mdat + 4 : mdat + 8] != b"mdat":
            raise MediaError("a fragment has no payload behind it")
        moof, samples = _protected_moof(segment, at, mdat, form, key, count)
        count += len(samples)
        out += [moof, segment[mdat : mdat + 8], *samples]
        at = mdat + _size(segment, mdat)
    return b"".join(out)


def _protected_moof(
    segment: bytes, moof: int, mdat: int, form: Form, key: Key, count: int
) -> tuple[bytes, list[bytes]]:
    """The moof with senc, saiz and saio in its traf, and the encrypted samples."""
    end = moof + _size(segment, moof)
    trafs = [(start, stop) for kind, start, stop in _boxes(segment, moof + 8, end) if kind == b"traf"]
    if len(trafs) != 1 or trafs[0][1] != end:
        raise MediaError("a fragment has more than one track")
    traf, _ = trafs[0]
    truns = [start for kind, start, _ in _boxes(segment, traf + 8, end) if kind == b"trun"]
    if len(truns) != 1:
        raise MediaError("a fragment has more than one run of samples")
    (trun,) = truns
    sizes, offset_at = _run(segment, trun)
    offset: int = struct.unpack_from(">i", segment, offset_at)[0]
    if moof + offset != mdat + 8 or sum(sizes) != _size(segment, mdat) - 8:
        raise MediaError("a fragment's samples are not its payload")
    view, place = memoryview(segment), mdat + 8
    encryption = Encryption(key.secret)
    samples: list[bytes] = []
    about: list[bytes] = []
    split = False
    for number, size in enumerate(sizes):
        iv = (count + number & 0xFFFFFFFFFFFFFFFF).to_bytes(IV_BYTES, "big")
        sample = view[place : place + size]
        parts = subsamples(form.codec, form.length_size, sample)
        split = parts is not None
        about.append(iv if parts is None else iv + _told(parts))
        samples.append(encryption.sample(iv, sample, parts))
        place += size
    if split:
        saiz = full_box(b"saiz", 0, 0, struct.pack(">BI", 0, len(about)), bytes(map(len, about)))
    else:
        saiz = full_box(b"saiz", 0, 0, struct.pack(">BI", IV_BYTES, len(about)))
    senc = full_box(b"senc", 0, 2 if split else 0, struct.pack(">I", len(about)), *about)
    # saio: where the first IV stands, from the beginning of the moof; it has 20 bytes itself
    first = end - moof + len(saiz) + 20 + 16
    saio = full_box(b"saio", 0, 0, struct.pack(">II", 1, first))
    grown = len(saiz) + len(saio) + len(senc)
    head = bytearray(segment[moof:end])
    struct.pack_into(">I", head, 0, end - moof + grown)
    struct.pack_into(">I", head, traf - moof, end - traf + grown)
    struct.pack_into(">i", head, offset_at - moof, offset + grown)
    return bytes(head) + saiz + saio + senc, samples


def _run(segment: bytes, trun: int) -> tuple[Sequence[int], int]:
    """The sizes of the samples of a trun, and where its data offset stands."""
    flags, count = struct.unpack_from(">II", segment, trun + 8)
    flags &= 0xFFFFFF
    if flags & 0x201 != 0x201:
        raise MediaError("a run of samples does not say how large they are, or where")
    skipped = 4 if flags & 4 else 0
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
    width, first = len(fields), trun + 20 + skipped
    if first + 4 * width * count > trun + _size(segment, trun):
        raise MediaError("a run of samples ends too early")
    words = struct.unpack_from(f">{width * count}I", segment, first)
    return words[fields.index(0x200) :: width], trun + 16


def _told(parts: Sequence[Subsample]) -> bytes:
    return struct.pack(">H", len(parts)) + b"".join([struct.pack(">HI", clear, secret) for clear, secret in parts])


def _stsd(init: bytes) -> tuple[int, int]:
    """The sample entry of an init segment of one track: where it begins and ends."""
    start, end = 0, len(init)
    for wanted in CONTAINERS:
        for kind, at, stop in _boxes(init, start, end):
            if kind == wanted:
                start, end = at + 8, stop
                break
        else:
            raise MediaError("the init segment is incomplete")
    for kind, at, stop in _boxes(init, start, end):
        if kind == b"stsd":
            for _, entry, after in _boxes(init, at + 16, stop):
                return entry, after
    raise MediaError("the init segment has no sample entry")


def _around(init: bytes, entry: int) -> list[int]:
    """Where the boxes begin that hold the sample entry, itself too."""
    found, start, end = [], 0, len(init)
    for wanted in (*CONTAINERS, b"stsd"):
        at, stop = next((at, stop) for kind, at, stop in _boxes(init, start, end) if kind == wanted)
        found.append(at)
        start, end = at + 8, stop
    return [*found, entry]


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of each box in a row. Raises MediaError."""
    while at + 8 <= end:
        size = _size(data, at)
        if at + size > end:
            raise MediaError("a box is longer than what holds it")
        yield data[at + 4 : at + 8], at, at + size
        at += size


def _size(data: bytes, at: int) -> int:
    if at + 8 > len(data):
        raise MediaError("a file ends in the middle of a box")
    size: int = struct.unpack_from(">I", data, at)[0]
    if size < 8:  # 0: to the end; 1: a size of 64 bits; neither is written here
        raise MediaError("a box has no size")
    return min(size, len(data) - at)


# playlists


def codecs_of(text: str) -> set[str]:
    """Of a multivariant playlist or a manifest: what is in it, as RFC 6381 names it."""
    return {codec.strip() for group in _CODECS.findall(text) for codec in group.split(",")}


def unprotectable(text: str) -> list[str]:
    """The codecs in a multivariant playlist whose samples cannot be encrypted here."""
    return sorted(codec for codec in codecs_of(text) if not can_protect(codec))


def init_before(playlist: str, segment: str) -> str | None:
    """The name of the init segment in force at a segment of a media playlist; None when that is not in it."""
    at = playlist.find(f"\n{segment}\n")
    map_at = playlist.rfind("#EXT-X-MAP:", 0, at) if at >= 0 else -1
    match = _URI.search(playlist, map_at) if map_at >= 0 else None
    return match[2] if match is not None else None


def aes_128_playlist(playlist: str, tag: str) -> str:
    """A media playlist whose segments are encrypted whole. Init segments stay plain, so no key is in force at an
    EXT-X-MAP, which would be encrypted like what follows it."""
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{tag}.key"'
    lines: list[str] = []
    number = 0
    in_force = ""
    for line in playlist.splitlines():
        if line.startswith("#EXT-X-MEDIA-SEQUENCE:"):
            number = int(line.partition(":")[2])
        elif line.startswith("#EXT-X-MAP:") and in_force:
            lines.append("#EXT-X-KEY:METHOD=NONE")
            in_force = ""
        elif line and not line.startswith("#"):
            iv = number_of(line)
            wanted = key if iv == number else f"{key},IV=0x{iv:032x}"
            if wanted != in_force:
                lines.insert(_head(lines), wanted)
                in_force = wanted
            line = f"{tag}.{line}"
            number += 1
        lines.append(line)
    return "\n".join(lines) + "\n"


def _head(lines: Sequence[str]) -> int:
    """Where the tags of the segment whose address comes next begin: behind the address before it, and behind an
    EXT-X-MAP."""
    for place in range(len(lines) - 1, -1, -1):
        if not lines[place].startswith(("#EXTINF:", "#EXT-X-BYTERANGE:", "#EXT-X-PROGRAM-DATE-TIME:", "#EXT-X-GAP")):
            return place + 1
    return 0


def clearkey_playlist(playlist: str, key_id: UUID) -> str:
    """A media playlist whose samples are encrypted, and its init segments say so."""
    tag, key = tag_of(key_id), _cenc_key("#EXT-X-KEY", key_id)
    lines: list[str] = []
    said = False
    for line in playlist.splitlines():
        if line.startswith("#EXT-X-MAP:"):
            if not said:
                lines.append(key)
                said = True
            line = _URI.sub(rf"\g<1>{tag}.\g<2>\g<3>", line)
        elif line and not line.startswith("#"):
            line = f"{tag}.{line}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def protected_multivariant(playlist: str, key_id: UUID, *, whole: bool) -> str:
    """With the key told early (EXT-X-SESSION-KEY, 4.3.4.5). whole: AES-128."""
    tag = tag_of(key_id)
    session = f'#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{tag}.key"' if whole else _cenc_key("#EXT-X-SESSION-KEY", key_id)
    head, newline, rest = playlist.partition("\n")
    return f"{head}{newline}{session}\n{rest}"


def _cenc_key(name: str, key_id: UUID) -> str:
    return (
        f'{name}:METHOD=SAMPLE-AES-CTR,URI="{LICENSE}",KEYFORMAT="{KEY_FORMAT}",KEYFORMATVERSIONS="1"'
        f",KEYID=0x{key_id.hex}"
    )


def clearkey_manifest(manifest: str, key_id: UUID) -> str:
    """The MPD with ContentProtection in the sets of picture and sound (23009-1, 5.8.4.1), and the new names.

    The address of the license is not in it: it would have to be absolute, as players take it for one beside their
    page, and so would be another for each grant. Nor is the pssh: dash.js asks by the key's id, and takes a pssh
    for one.
    """
    tag = tag_of(key_id)
    told = (
        '<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc"'
        f' xmlns:cenc="urn:mpeg:cenc:2013" cenc:default_KID="{key_id}"/>'
        f'<ContentProtection schemeIdUri="{CLEARKEY_SCHEME}" value="ClearKey1.0"/>'
    )
    text = _SET.sub(lambda match: match[0] + told, manifest)
    return re.sub(r'\b(initialization|media)="', rf'\g<1>="{tag}.', text)
