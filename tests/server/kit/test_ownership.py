"""Who may have what somebody owns."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from server.kit.auth import Caller
from server.kit.ids import uuid7
from server.kit.ownership import may, own, scope
from server.kit.problems import Forbidden, NotFound

OWNER = Caller(uuid7(), "owner", frozenset(), uuid7())
STRANGER = Caller(uuid7(), "stranger", frozenset(), uuid7(), permissions=frozenset({"other.read"}))
STAFF = Caller(uuid7(), "staff", frozenset(), uuid7(), permissions=frozenset({"things.read"}))


@dataclass(frozen=True)
class Thing:
    owner_id: UUID


THING = Thing(OWNER.user_id)


def missing() -> NotFound:
    return NotFound("There is none.")


def test_its_owner_and_who_may_have_everybodys() -> None:
    assert own(THING, OWNER, missing=missing) is THING
    assert own(THING, STAFF, missing=missing, permission="things.read") is THING


@pytest.mark.parametrize("caller", [None, STRANGER, STAFF])
def test_a_secret_is_not_there_for_others(caller: Caller | None) -> None:
    with pytest.raises(NotFound) as foreign:
        own(THING, caller, missing=missing)
    with pytest.raises(NotFound) as absent:
        own(None, caller, missing=missing)
    assert foreign.value.detail == absent.value.detail


def test_what_everybody_knows_is_somebody_elses() -> None:
    with pytest.raises(Forbidden):
        own(THING, STRANGER, missing=missing, foreign=lambda: Forbidden("It is another's."), permission="things.read")
    with pytest.raises(NotFound):
        own(None, OWNER, missing=missing, foreign=lambda: Forbidden("It is another's."))


def test_lists() -> None:
    assert scope(OWNER) == OWNER.user_id
    assert scope(STRANGER, "things.read") == STRANGER.user_id
    assert scope(STAFF, "things.read") is None
    assert not may(None, OWNER.user_id)
    assert not may(STRANGER, OWNER.user_id)
