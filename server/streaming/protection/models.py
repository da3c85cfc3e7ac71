"""How the media of a video is encrypted when it is handed out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from media.package.protect import tag_of


class Scheme(StrEnum):
    """aes-128: whole segments, HLS alone. clearkey: Common Encryption with EME's Clear Key, HLS and DASH."""

    NONE = "none"
    AES_128 = "aes-128"
    CLEARKEY = "clearkey"


@dataclass(frozen=True, slots=True)
class Protection:
    """key_id: all may know it. sealed_key: as it is kept; see `Keys`."""

    scheme: Scheme
    key_id: UUID
    sealed_key: bytes = field(repr=False)

    @property
    def tag(self) -> str:
        """Before the names of what is encrypted with it."""
        return tag_of(self.key_id)
