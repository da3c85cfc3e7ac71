"""Cursors are signed where they leave and checked where they come back: features see their own positions only.

A signature is bound to the list (route and what its path names) and, where only a signed-in caller gets it, to him. The
key is the installation's, so a cursor is good on every node and after a restart.
"""

from __future__ import annotations

import base64
import hmac
from typing import Any

import msgspec

from server.kit.http.page import MAX_CURSOR
from server.kit.problems import BadCursor

PURPOSE = "page cursor"
_MAC_BYTES = 15  # 20 characters, no padding
_MAC_LENGTH = 20


class CursorSigner:
    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, bound: str, position: str) -> str:
        """The cursor that a client gets for the position that a feature gave."""
        return self._mac(bound, position) + position

    def open(self, bound: str, cursor: str) -> str:
        """The position. Raises BadCursor."""
        position = cursor[_MAC_LENGTH:]
        if (
            len(cursor) > MAX_CURSOR
            or not cursor.isascii()
            or not hmac.compare_digest(cursor[:_MAC_LENGTH], self._mac(bound, position))
        ):
            raise BadCursor("Use the next_cursor of a page of this list, unchanged.")
        return position

    def opened(self, bound: str, query: Any) -> Any:
        """The query with its cursor as the feature knows it."""
        if query.cursor is None:
            return query
        return msgspec.structs.replace(query, cursor=self.open(bound, query.cursor))

    def signed(self, bound: str, result: Any) -> Any:
        """The page with its cursor as the client gets it. The feature may keep what it gave."""
        if result.next_cursor is None:
            return result
        return msgspec.structs.replace(result, next_cursor=self.sign(bound, result.next_cursor))

    def _mac(self, bound: str, position: str) -> str:
        digest = hmac.digest(self._key, f"{bound}\n{position}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:_MAC_BYTES]).decode()


def has_field(kind: Any, name: str) -> bool:
    """Whether a declared type is a struct (also Page[…]) with that field."""
    origin = getattr(kind, "__origin__", kind)
    return isinstance(origin, type) and issubclass(origin, msgspec.Struct) and name in origin.__struct_fields__
