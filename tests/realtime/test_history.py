"""The tail of a channel, and token buckets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.history import Tail, joined
from realtime.limits import Bucket, Places
from realtime.protocol.codec import Payload
from realtime.rules import Entry


def entry(offset: int, size: int = 1) -> Entry:
    return Entry(offset, Payload(b"x" * size))


def offsets(entries: list[Entry] | None) -> list[int] | None:
    return None if entries is None else [entry.offset for entry in entries]


@given(
    start=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 50), max_size=60),
    most=st.integers(1, 20),
    most_bytes=st.integers(1, 300),
    since=st.integers(0, 1100),
)
def test_a_tail_is_dense_bounded_and_says_what_it_covers(
    start: int, sizes: list[int], most: int, most_bytes: int, since: int
) -> None:
    tail = Tail(start, most, most_bytes)
    for number, size in enumerate(sizes):
        tail.append(entry(start + number + 1, size))
    held = tail.last(1000)
    assert offsets(held) == list(range(tail.start + 1, tail.end + 1))
    assert tail.end == start + len(sizes)
    assert len(held) <= most
    assert sum(len(one.payload.json) for one in held) <= most_bytes or len(held) == 1
    if tail.covers(since):
        assert offsets(tail.after(since)) == list(range(since + 1, tail.end + 1))


def test_a_tail_refuses_what_does_not_follow() -> None:
    tail = Tail(0, 10, 100)
    tail.append(entry(1))
    for offset in (1, 3):
        with pytest.raises(ValueError, match="does not follow"):
            tail.append(entry(offset))


def test_what_was_erased_is_replaced() -> None:
    tail = Tail(0, 10, 1000)
    tail.append(entry(1, 5))
    tail.append(Entry(2, Payload(b"delete"), Entry(1, Payload(b"gone"))))
    assert [one.payload.json for one in tail.last(9)] == [b"gone", b"delete"]
    tail.replace(entry(3))
    assert tail.end == 2


def test_joining_what_was_read_with_the_tail() -> None:
    tail = Tail(5, 10, 1000)
    for offset in (6, 7, 8):
        tail.append(entry(offset))
    assert offsets(joined([entry(4), entry(5)], tail)) == [4, 5, 6, 7, 8]
    assert offsets(joined([entry(offset) for offset in (4, 5, 6, 7)], tail)) == [4, 5, 6, 7, 8]
    assert offsets(joined([entry(offset) for offset in range(4, 12)], tail)) == [4, 5, 6, 7, 8]  # the rest will be told
    assert joined([entry(3), entry(4)], tail) is None
    assert joined([], tail) is None


@given(burst=st.integers(1, 20), interval=st.floats(0.01, 10), steps=st.lists(st.floats(0, 5), max_size=80))
def test_a_bucket_gives_no_more_than_it_may(burst: int, interval: float, steps: list[float]) -> None:
    bucket, now, taken = Bucket(burst, interval), 1000.0, 0
    for step in steps:
        now += step
        wait = bucket.take(now)
        if wait == 0:
            taken += 1
        else:
            assert wait <= interval + 1e-6
            assert bucket.take(now + wait + 1e-6) == 0
            taken, now = taken + 1, now + wait + 1e-6
    assert taken <= burst + (now - 1000.0) / interval + 1e-3


def test_places_are_given_back() -> None:
    places = Places(3, 2)
    for address in ("a", "a", "b"):
        assert not places.full_for(address)
        places.take(address)
    assert places.full()
    assert places.full_for("a")
    assert not places.full_for("b")
    places.give("a")
    assert not places.full()
    assert not places.full_for("a")
