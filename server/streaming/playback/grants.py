"""Grants: the part of a media path that says who may have what is below it.

    base64url( issued (ms since 1970, 8 bytes) | viewer (16) | session (16) | HMAC-SHA256 (first 16 bytes) )

The signature is over kind and id of what is watched too, so that a grant opens nothing else. A grant is good for some
minutes; a renewed one differs from the old only in this part of the path, so no playlist changes. What one viewer is
given within a quarter of that time is the same, so that pages and their ETags stay as they are. Owns the grants that
were checked lately.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from server.streaming.playback.subjects import Kind

_LAYOUT = struct.Struct(">Q16s16s")
_MAC = 16
_LENGTH = (_LAYOUT.size + _MAC) // 3 * 4 + 3
"""Characters; the rest of a division by three is two bytes."""
_CHECKED_MOST = 16_384


@dataclass(frozen=True, slots=True)
class Grant:
    """issued: s since 1970. session: what the viewer was signed in with; its end is the grant's."""

    issued: float
    viewer: UUID
    session: UUID


class Grants:
    """seconds: life of a grant. skew: how far the clocks of the fleet's machines may be apart, s."""

    def __init__(self, key: bytes, *, seconds: float, skew: float, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.new(key, digestmod=hashlib.sha256)
        self.seconds = seconds
        self.skew = skew
        self._clock = clock
        self._checked: OrderedDict[tuple[Kind, str, str], Grant] = OrderedDict()

    def issue(self, kind: Kind, id: UUID, viewer: UUID, session: UUID, *, after: float = 0.0) -> str:
        """after: what was given to this viewer up to then is void."""
        now = self._clock()
        step = self.seconds / 4
        issued = now // step * step
        if issued - self.skew <= after:
            issued = now
        body = _LAYOUT.pack(int(issued * 1000), viewer.bytes, session.bytes)
        return base64.urlsafe_b64encode(body + self._mac(kind, str(id), body)).rstrip(b"=").decode()

    def read(self, kind: Kind, id: str, text: str) -> Grant | None:
        """The grant; None when it is not ours or not for this. Whether its time is over is `fresh`."""
        key = (kind, id, text)
        known = self._checked.get(key)
        if known is not None:
            self._checked.move_to_end(key)
            return known
        grant = self._read(kind, id, text)
        if grant is not None:
            self._checked[key] = grant
            if len(self._checked) > _CHECKED_MOST:
                self._checked.popitem(last=False)
        return grant

    def fresh(self, grant: Grant) -> bool:
        return -self.skew <= self._clock() - grant.issued <= self.seconds + self.skew

    def _read(self, kind: Kind, id: str, text: str) -> Grant | None:
        if len(text) != _LENGTH or not text.isascii():
            return None
        try:
            data = base64.b64decode(text + "=", altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        body, mac = data[: _LAYOUT.size], data[_LAYOUT.size :]
        if not hmac.compare_digest(mac, self._mac(kind, id, body)):
            return None
        # one spelling: the last character has bits to spare, and CDNs tell addresses apart by their characters
        if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
            return None
        issued, viewer, session = _LAYOUT.unpack(body)
        return Grant(issued / 1000, UUID(bytes=viewer), UUID(bytes=session))

    def _mac(self, kind: Kind, id: str, body: bytes) -> bytes:
        made = self._key.copy()
        made.update(f"{kind}/{id}/".encode() + body)
        return made.digest()[:_MAC]
