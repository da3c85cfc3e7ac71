"""The verdict itself: it passes a run without faults, and finds each one that is planted in it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.checker.record import Ack, Entry, Record, Sent, Sight, Subscribed, Told
from tests.realtime.checker.verdict import faults, unneeded

Run = tuple[Record, list[Entry]]
EPOCH = "7"


def run(seed: int = 1, messages: int = 60, clients: int = 4) -> Run:
    """A run as it should be, with clients that leave and come back, and some that begin anew."""
    chance = random.Random(seed)
    record, log = Record(), []
    for number in range(1, messages + 1):
        client = f"c{chance.randrange(clients)}"
        entry = Entry(number, f"id-{number}", client, f"{client}-{number}")
        log.append(entry)
        sent = Sent(client, client, f"n-{number}", entry.text, at=number - 0.5)
        if chance.random() < 0.9:  # of some the acknowledgement was lost
            sent.acks = [Ack(EPOCH, entry, at=number + 0.4)] * chance.choice((1, 2))
        record.sent.append(sent)
    record.sent.append(Sent("c0", "c0", "n-0", "too long", at=1.0, refused=True))
    for number in range(clients):
        sight = Sight(f"c{number}")
        sight.saw(Subscribed(None, EPOCH, 3, False, tuple(log[1:3])))
        at = 3
        while at < messages:
            step = min(chance.randint(1, 6), messages - at)
            missed = tuple(log[at : at + step])
            kind = chance.random()
            if kind < 0.6:
                for entry in missed:
                    sight.saw(Told(EPOCH, entry))
            else:
                recovered = kind < 0.9
                entries = missed if recovered else missed[-2:]
                sight.saw(Subscribed((EPOCH, at), EPOCH, at + step, recovered, entries))
            at += step
        record.sights.append(sight)
    return record, log


@given(st.integers(0, 10_000))
def test_a_run_as_it_should_be_has_no_faults(seed: int) -> None:
    record, log = run(seed)
    assert faults(record, EPOCH, log) == []


def _told(record: Record) -> tuple[Sight, int]:
    """A client, and where in its sight two messages came one after the other."""
    for sight in record.sights:
        for at, pair in enumerate(zip(sight.events, sight.events[1:], strict=False)):
            if all(isinstance(event, Told) for event in pair):
                return sight, at
    raise AssertionError("no such run")


def _acknowledged(record: Record, log: list[Entry], at: int) -> int:
    return next(n for n in range(at, len(log)) if any(s.text == log[n].text and s.acks for s in record.sent))


def lost_message(record: Record, log: list[Entry]) -> None:
    at = _acknowledged(record, log, 20)
    log[at:] = [replace(entry, offset=entry.offset - 1) for entry in log[at + 1 :]]


def lost_last_message(record: Record, log: list[Entry]) -> None:
    entry = Entry(len(log) + 1, "id-last", "c0", "c0-last")
    record.sent.append(Sent("c0", "c0", "n-last", entry.text, at=1e3, acks=[Ack(EPOCH, entry, at=1e3 + 1)]))


def hole_in_the_log(record: Record, log: list[Entry]) -> None:
    del log[10]


def nonce_that_made_two(record: Record, log: list[Entry]) -> None:
    twin = replace(log[30], offset=len(log) + 1, id="id-twin")
    log.append(twin)
    for sight in record.sights:
        sight.saw(Told(EPOCH, twin))


def nonce_with_two_acknowledgements(record: Record, log: list[Entry]) -> None:
    sent = next(sent for sent in record.sent if sent.acks)
    sent.acks = [sent.acks[0], replace(sent.acks[0], entry=replace(sent.acks[0].entry, offset=50))]


def acknowledgement_of_another_place(record: Record, log: list[Entry]) -> None:
    sent = next(sent for sent in record.sent if len(sent.acks) == 1)
    sent.acks = [replace(sent.acks[0], entry=replace(sent.acks[0].entry, offset=50))]


def stored_though_refused(record: Record, log: list[Entry]) -> None:
    next(sent for sent in record.sent if sent.text == log[5].text).refused = True


def message_of_nobody(record: Record, log: list[Entry]) -> None:
    entry = Entry(len(log) + 1, "x", "c9", "who?")
    log.append(entry)
    for sight in record.sights:
        sight.saw(Told(EPOCH, entry))


def order_against_time(record: Record, log: list[Entry]) -> None:
    for sent in record.sent:
        sent.at, sent.acks = sent.at + 100, [replace(ack, at=ack.at + 100) for ack in sent.acks]
    late = next(sent for sent in record.sent if sent.text == log[_acknowledged(record, log, 40)].text)
    late.at, late.acks = 1.0, [replace(ack, at=2.0) for ack in late.acks]


def client_missed_one(record: Record, log: list[Entry]) -> None:
    sight, at = _told(record)
    del sight.events[at]


def client_was_told_twice(record: Record, log: list[Entry]) -> None:
    sight, at = _told(record)
    sight.events.insert(at, sight.events[at])


def client_saw_another_order(record: Record, log: list[Entry]) -> None:
    sight, at = _told(record)
    sight.events[at], sight.events[at + 1] = sight.events[at + 1], sight.events[at]


def client_saw_another_text(record: Record, log: list[Entry]) -> None:
    sight, at = _told(record)
    told = sight.events[at]
    assert isinstance(told, Told)
    sight.events[at] = replace(told, entry=replace(told.entry, text="another"))


def _recovery(record: Record) -> tuple[Sight, int, Subscribed]:
    for sight in record.sights:
        for at, event in enumerate(sight.events):
            if isinstance(event, Subscribed) and event.recovered and len(event.entries) > 2:
                return sight, at, event
    raise AssertionError("no such run")


def recovery_without_its_first(record: Record, log: list[Entry]) -> None:
    sight, at, event = _recovery(record)
    sight.events[at] = replace(event, entries=event.entries[1:])


def recovery_without_its_last(record: Record, log: list[Entry]) -> None:
    sight, at, event = _recovery(record)
    sight.events[at] = replace(event, entries=event.entries[:-1])


def recovery_with_a_hole(record: Record, log: list[Entry]) -> None:
    sight, at, event = _recovery(record)
    sight.events[at] = replace(event, entries=(event.entries[0], *event.entries[2:]))


def recovery_of_what_it_had(record: Record, log: list[Entry]) -> None:
    sight, at, event = _recovery(record)
    before = log[event.entries[0].offset - 2]
    sight.events[at] = replace(event, entries=(before, *event.entries))


def recovery_of_nothing_ahead(record: Record, log: list[Entry]) -> None:
    """An empty recovery that moves the client on all the same."""
    sight, at, event = _recovery(record)
    sight.events[at] = replace(event, entries=())


def client_stayed_behind(record: Record, log: list[Entry]) -> None:
    record.sights[0].events.pop()


def told_before_the_answer(record: Record, log: list[Entry]) -> None:
    record.sights[0].events.insert(0, Told(EPOCH, log[0]))


def other_epoch(record: Record, log: list[Entry]) -> None:
    sight, at = _told(record)
    told = sight.events[at]
    assert isinstance(told, Told)
    sight.events[at] = replace(told, epoch="8")


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (lost_message, "lost"),
        (lost_last_message, "lost"),
        (hole_in_the_log, "gap"),
        (nonce_that_made_two, "doubled"),
        (nonce_with_two_acknowledgements, "doubled"),
        (acknowledgement_of_another_place, "moved"),
        (stored_though_refused, "refused"),
        (message_of_nobody, "invented"),
        (order_against_time, "reordered"),
        (client_missed_one, "gap"),
        (client_was_told_twice, "doubled"),
        (client_saw_another_order, "reordered"),
        (client_saw_another_text, "different"),
        (recovery_without_its_first, "gap"),
        (recovery_without_its_last, "gap"),
        (recovery_with_a_hole, "gap"),
        (recovery_of_what_it_had, "gap"),
        (recovery_of_nothing_ahead, "gap"),
        (client_stayed_behind, "behind"),
        (told_before_the_answer, "early"),
        (other_epoch, "epoch"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_fault_is_found(plant: Callable[[Record, list[Entry]], None], kind: str, seed: int) -> None:
    record, log = copy.deepcopy(run(seed, messages=200))
    plant(record, log)
    assert kind in {fault.kind for fault in faults(record, EPOCH, log)}


def test_beginning_anew_without_need_is_told() -> None:
    record, log = run()
    record.sights = [Sight("c0")]
    record.sights[0].saw(Subscribed((EPOCH, 10), EPOCH, 60, False, tuple(log[-50:])))
    assert [fault.kind for fault in unneeded(record, 50)] == ["anew"]
    assert unneeded(record, 49) == []
    assert faults(record, EPOCH, log) == []
