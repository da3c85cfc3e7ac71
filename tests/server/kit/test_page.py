"""Positions: what they carry, and what becomes of those that are none."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.kit.clock import now
from server.kit.http.page import Page, decode_cursor, encode_cursor
from server.kit.ids import uuid7
from server.kit.problems import BadCursor


def test_values_come_back_as_they_were() -> None:
    moment, id = now(), uuid7()
    cursor = encode_cursor(moment, id, 7, "ä", None)
    assert decode_cursor(cursor, datetime, UUID, int, str, str | None) == (moment, id, 7, "ä", None)
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_times_are_given_back_in_utc() -> None:
    there = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    (back,) = decode_cursor(encode_cursor(there), datetime)
    assert (back, back.tzinfo) == (there, UTC)


@given(st.text(max_size=600))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(text, int)


def _crafted(body: bytes) -> str:
    return base64.urlsafe_b64encode(body).decode().rstrip("=")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[1]", str),
        (b'["x"]', int),
        (b"[1,2]", int),
        (b"[]", int),
        (b"{}", int),
        (b"[" * 400, int),
        (b"[9223372036854775808]", int),
        (b"[1e400]", int),
        (b'["a\\u0000b"]', str),
        (b'["not an id"]', UUID),
        (b'["2026-01-01T00:00:00"]', datetime),
        (b'["0001-01-01T00:00:00+23:00"]', datetime),
        (b'["9999-12-31T23:59:59-23:00"]', datetime),
        (b"\xff", str),
    ],
)
def test_cursors_made_by_somebody_else(body: bytes, kind: type) -> None:
    with pytest.raises(BadCursor):
        decode_cursor(_crafted(body), kind)


def test_a_page_is_stable_when_items_come_in_before_it() -> None:
    rows = list(range(100, 0, -10))
    first: Page[int] = Page.cut(rows[:4], 3, lambda row: (row,), lambda row: row)
    assert first.items == [100, 90, 80]
    assert first.next_cursor is not None
    rows.insert(0, 110)
    (after,) = decode_cursor(first.next_cursor, int)
    rest = [row for row in rows if row < after]
    second: Page[int] = Page.cut(rest[:4], 3, lambda row: (row,), lambda row: row)
    assert second.items == [70, 60, 50]
    last: Page[int] = Page.cut([20, 10], 3, lambda row: (row,), lambda row: row)
    assert (last.items, last.next_cursor) == ([20, 10], None)
