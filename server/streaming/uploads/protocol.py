"""The headers of tus 1.0.0 (https://tus.io/protocols/resumable-upload), read strictly. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from server.streaming.uploads.errors import BadUpload, WrongVersion

VERSION = "1.0.0"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
ALGORITHMS = ("sha1", "sha256", "sha512")
"""md5 and crc32 are refused: the first is no use against anybody, the second is none against a bad disk."""
OFFSET_TYPE = "application/offset+octet-stream"
_NUMBER = re.compile(r"[0-9]{1,18}")
_KEY = re.compile(r"[!-+\--~]{1,100}")  # ASCII without space and comma
_MOST_PIECES = 1000


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes

    def begin(self) -> Any:
        return hashlib.new(self.algorithm, usedforsecurity=False)


def check_version(headers: Mapping[str, str]) -> None:
    """Raises WrongVersion."""
    if headers.get("Tus-Resumable") != VERSION:
        problem = WrongVersion(f"Send Tus-Resumable: {VERSION}.")
        problem.headers["Tus-Version"] = VERSION
        raise problem


def number(headers: Mapping[str, str], name: str) -> int | None:
    """Raises BadUpload."""
    text = headers.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text.strip()):
        raise BadUpload(f"{name} takes a number of bytes, such as 1048576.")
    return int(text)


def length(headers: Mapping[str, str]) -> int | None:
    """Of the upload to be made; None: it will be told later. Raises BadUpload."""
    given, deferred = number(headers, "Upload-Length"), headers.get("Upload-Defer-Length")
    if deferred is not None and deferred.strip() != "1":
        raise BadUpload("Upload-Defer-Length takes 1.")
    if (given is None) == (deferred is None):
        raise BadUpload("Send either Upload-Length, in bytes, or Upload-Defer-Length: 1.")
    if given == 0:
        raise BadUpload("A video has more than 0 bytes.")
    return given


def metadata(text: str) -> dict[str, str]:
    """Upload-Metadata: `key base64,key base64`. Raises BadUpload."""
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise BadUpload("Upload-Metadata takes keys of ASCII without spaces and commas, each once.")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadUpload(f"Upload-Metadata: the value of {key} has to be UTF-8 in base64.") from None
    return found


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    """Raises BadUpload."""
    text = headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, value = text.strip().partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadUpload(f"Upload-Checksum takes {', '.join(ALGORITHMS)}.")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise BadUpload(f"Upload-Checksum takes {algorithm}, a space, and its digest in base64.")
    return Checksum(algorithm, digest)


def concatenation(headers: Mapping[str, str], path: str) -> tuple[bool, list[UUID]]:
    """Whether a part is to be made, and the parts that a final one joins. path: that uploads are under. Raises
    BadUpload."""
    text = headers.get("Upload-Concat")
    if text is None:
        return False, []
    if text.strip() == "partial":
        return True, []
    word, _, addresses = text.strip().partition(";")
    if word != "final":
        raise BadUpload("Upload-Concat takes partial, or final; and the addresses of the parts.")
    ids = []
    for address in addresses.split():
        before, _, id = address.rpartition("/")
        try:
            if not before.endswith(path):
                raise ValueError
            ids.append(UUID(id))
        except ValueError:
            raise BadUpload(f"Upload-Concat: {address[:200]} is no upload of this server.") from None
    if not ids or len(set(ids)) != len(ids) or len(ids) > _MOST_PIECES:
        raise BadUpload(f"Upload-Concat: a final upload joins 1 to {_MOST_PIECES} parts, each once.")
    return False, ids


def http_date(at: datetime) -> str:
    return format_datetime(at, usegmt=True)
