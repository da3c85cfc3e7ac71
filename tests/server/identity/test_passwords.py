"""Hashing off the loop, bounded."""

from __future__ import annotations

import asyncio
import threading

import pytest

from server.identity import passwords as module
from server.identity.errors import HashingBusy
from server.identity.passwords import Cost, Match, Passwords
from tests.server.identity.stack import QUICK


async def test_a_password_matches_its_hash() -> None:
    passwords = Passwords(1, QUICK)
    encoded = await passwords.hash("pässword")
    assert encoded.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert await passwords.match("pa\u0308ssword", [encoded]) == Match(0, None)  # the same text, composed otherwise
    assert await passwords.match("password", [encoded]) is None
    assert await passwords.match("password", []) is None
    passwords.close()


async def test_no_password_matches_nobody() -> None:
    passwords = Passwords(1, QUICK)
    assert await passwords.match("", []) is None
    assert passwords.computed == 1
    passwords.close()


async def test_hashes_of_another_salt_are_not_confused() -> None:
    passwords = Passwords(1, QUICK)
    first, second = await passwords.hash("one"), await passwords.hash("two")
    shared = await passwords.hash("two", like=first)
    assert await passwords.match("two", [first, second, shared]) == Match(2, None)
    passwords.close()


async def test_a_hash_made_cheaper_is_made_again() -> None:
    old, new = Passwords(1, QUICK), Passwords(1, Cost(passes=2, memory=64))
    encoded = await old.hash("secret")
    match = await new.match("secret", [encoded])
    assert match is not None
    assert match.fresh is not None
    assert await new.match("secret", [match.fresh]) == Match(0, None)
    old.close()
    new.close()


async def test_the_queue_is_bounded_and_hashes_are_made_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    argon2 = module._argon2

    def watched(password: str, salt: bytes, cost: Cost) -> str:
        threads.add(threading.current_thread().name)
        return argon2(password, salt, cost)

    monkeypatch.setattr(module, "_argon2", watched)
    passwords = Passwords(1, QUICK)
    results = await asyncio.gather(*(passwords.hash("secret") for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(result, HashingBusy) for result in results) == 8
    assert sum(isinstance(result, str) for result in results) == 32
    assert passwords.describe()["under_way"] == 0
    assert threads == {"argon2_0"}
    passwords.close()
