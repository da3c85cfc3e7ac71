"""Lists as cursor pages: {"items": [...], "next_cursor": ...}.

A cursor is the position of the last item of a page (the values it is sorted by), so a page stays right when items are
inserted or removed before it. Features encode and decode positions; what a client gets is signed by the wrapper
(`cursors.py`), which refuses what was made up or changed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from server.kit.problems import BadCursor

T = TypeVar("T")
S = TypeVar("S")

MAX_CURSOR = 512
_INT8 = 1 << 63


class PageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What every list takes."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100, description="how many items at most")] = 20
    cursor: Annotated[str, msgspec.Meta(max_length=MAX_CURSOR, description="next_cursor of the page before")] | None = (
        None
    )


class Page(msgspec.Struct, Generic[T], kw_only=True):
    """One page of a list. next_cursor is null on the last."""

    items: list[T]
    next_cursor: str | None = None

    @classmethod
    def cut(
        cls, rows: Sequence[S], limit: int, position: Callable[[S], tuple[object, ...]], view: Callable[[S], T]
    ) -> Page[T]:
        """A page of the first `limit` rows. Ask the store for limit + 1: the extra row says that there is more."""
        items = [view(row) for row in rows[:limit]]
        more = encode_cursor(*position(rows[limit - 1])) if len(rows) > limit else None
        return Page(items=items, next_cursor=more)


def encode_cursor(*values: object) -> str:
    """A position from str, int, float, bool, UUID, aware datetime or None."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def decode_cursor(text: str, *types: Any) -> tuple[Any, ...]:
    """The values of a position, each of its type (UUID, datetime, int, str, or a union). Raises BadCursor."""
    try:
        if len(text) > MAX_CURSOR:
            raise ValueError("too long")
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw, type=tuple.__class_getitem__(types))
        return tuple(_sane(value) for value in values)
    except (ValueError, binascii.Error, msgspec.DecodeError, OverflowError, RecursionError):
        raise BadCursor("Use the next_cursor of a page of this list, unchanged.") from None


def _sane(value: Any) -> Any:
    """Nothing that a database would choke on."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("naive time")
        return value.astimezone(UTC)
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("NUL")
    if isinstance(value, int) and not -_INT8 <= value < _INT8:
        raise ValueError("beyond 64 bit")
    return value


__all__ = ["Page", "PageQuery", "decode_cursor", "encode_cursor"]
