"""Whether what clients did and saw can be, given the log that stands in the end. Pure: it only reads.

What is held against the record:

- the log is dense from 1 on, and has nothing that nobody wrote, nothing that was refused, nothing twice;
- every acknowledged message stands where its acknowledgement said, and all acknowledgements of a nonce are the same;
- what was acknowledged before another was first sent stands before it;
- each client was shown the log's own entries, each one after the last, from where it began on; it began anew only when
  told so; and in the end it is at the log's end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.realtime.checker.record import Entry, Record, Sent, Sight, Subscribed


@dataclass(frozen=True, slots=True)
class Fault:
    """kind: lost, moved, doubled, invented, refused, gap, reordered, different, behind, epoch, ignored, early."""

    kind: str
    what: str


def faults(record: Record, epoch: str, log: Sequence[Entry]) -> list[Fault]:
    """All that is wrong, the log's own faults first. `log`: the whole of it, as it was read afterwards."""
    return [
        *_of_the_log(record, log),
        *_of_acks(record, epoch, log),
        *_of_time(record, log),
        *(fault for sight in record.sights for fault in _of_sight(sight, epoch, log)),
    ]


def _of_the_log(record: Record, log: Sequence[Entry]) -> Iterator[Fault]:
    for at, entry in enumerate(log, 1):
        if entry.offset != at:
            yield Fault("gap", f"the log has {entry.offset} where {at} should stand")
            break
    for text, times in Counter(entry.text for entry in log).items():
        if times > 1:
            yield Fault("doubled", f"{text} stands {times} times in the log")
    written = {(sent.author, sent.text): sent for sent in record.sent}
    for entry in log:
        sent = written.get((entry.author, entry.text))
        if sent is None:
            yield Fault("invented", f"nobody wrote {entry}")
        elif sent.refused:
            yield Fault("refused", f"{entry} was refused")


def _of_acks(record: Record, epoch: str, log: Sequence[Entry]) -> Iterator[Fault]:
    places = {entry.offset: entry for entry in log}
    ids = {entry.id for entry in log}
    for sent in record.sent:
        for ack in sent.acks:
            if ack.entry != sent.acks[0].entry:
                yield Fault("doubled", f"{sent.nonce} was acknowledged as {sent.acks[0].entry} and as {ack.entry}")
            elif ack.epoch not in (epoch, None):
                yield Fault("epoch", f"{sent.nonce} was acknowledged in epoch {ack.epoch}, not {epoch}")
            elif ack.entry.id not in ids:
                yield Fault("lost", f"{ack.entry} was acknowledged to {sent.client}")
            elif places.get(ack.entry.offset) != ack.entry:
                yield Fault("moved", f"{ack.entry} was acknowledged, {places.get(ack.entry.offset)} stands there")
            elif (ack.entry.author, ack.entry.text) != (sent.author, sent.text):
                yield Fault("different", f"{sent.text} of {sent.author} was acknowledged as {ack.entry}")


def _of_time(record: Record, log: Sequence[Entry]) -> Iterator[Fault]:
    by_text: dict[str, Sent] = {sent.text: sent for sent in record.sent}
    soonest, which = math.inf, ""  # the first acknowledgement among those that stand later
    for entry in reversed(log):
        sent = by_text.get(entry.text)
        if sent is None:
            continue
        if soonest < sent.at:
            yield Fault("reordered", f"{which} was acknowledged before {entry.text} was sent, and stands after it")
        if sent.acks and (first := min(ack.at for ack in sent.acks)) < soonest:
            soonest, which = first, entry.text


def _of_sight(sight: Sight, epoch: str, log: Sequence[Entry]) -> Iterator[Fault]:
    places = {entry.offset: entry for entry in log}
    held: int | None = None

    def compare(entries: Sequence[Entry]) -> Iterator[Fault]:
        for entry in entries:
            if places.get(entry.offset) != entry:
                yield Fault("different", f"{sight.client} saw {entry}; the log has {places.get(entry.offset)}")

    for event in sight.events:
        if event.epoch != epoch:
            yield Fault("epoch", f"{sight.client} was in epoch {event.epoch}, not {epoch}")
        if isinstance(event, Subscribed):
            yield from compare(event.entries)
            first = event.entries[0].offset if event.entries else event.offset + 1
            if [entry.offset for entry in event.entries] != list(range(first, event.offset + 1)):
                yield Fault("gap", f"{sight.client} was answered {_offsets(event)}, up to {event.offset}")
            elif event.recovered and (event.since is None or first != event.since[1] + 1):
                yield Fault("gap", f"{sight.client} asked for what follows {event.since}, and got {_offsets(event)}")
            held = event.offset
            continue
        at = event.entry.offset
        yield from compare([event.entry])
        if held is None:
            yield Fault("early", f"{sight.client} was told {at} before its subscription was answered")
        elif at <= held:
            yield Fault("doubled" if at == held else "reordered", f"{sight.client} was told {at} after {held}")
        elif at > held + 1:
            yield Fault("gap", f"{sight.client} was told {at} after {held}")
        held = at
    if held != len(log):
        yield Fault("behind", f"{sight.client} ended at {held}, the log at {len(log)}")


def unneeded(record: Record, most: int) -> list[Fault]:
    """Returns that were not recovered although no more than `most` had been missed. Allowed by the contract, and a
    weakness."""
    return [
        Fault("anew", f"{sight.client} asked for what follows {event.since} at {event.offset}, and had to begin anew")
        for sight in record.sights
        for event in sight.events
        if isinstance(event, Subscribed)
        and event.since is not None
        and not event.recovered
        and event.since[0] == event.epoch
        and event.offset - event.since[1] <= most
    ]


def _offsets(event: Subscribed) -> list[int]:
    return [entry.offset for entry in event.entries]
