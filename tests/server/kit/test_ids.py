"""UUIDs of version 7."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.kit.ids import IdSource, uuid7


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    # RFC 9562, section 5.7: unix_ts_ms is the first 48 bits
    assert before <= made.int >> 80 <= before + 60_000
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_ids_rise_within_a_process() -> None:
    made = [uuid7() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_ids_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([5_000_000_000, 4_000_000_000, 4_000_000_000, 5_000_000_001, 6_000_000_000])
    monkeypatch.setattr("server.kit.ids.time.time_ns", lambda: next(moments))
    source = IdSource()
    made = [source.next() for _ in range(5)]
    assert made == sorted(set(made))


def test_threads_share_one_source() -> None:
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda _: [uuid7() for _ in range(2000)], range(4)))
    assert len({id for batch in batches for id in batch}) == 8000
    assert all(batch == sorted(batch) for batch in batches)
