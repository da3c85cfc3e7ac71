"""What can be set about the hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.crowds import CrowdOptions
from realtime.typists import TypingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    first_messages: int = 50  # given to a subscriber that is new or cannot recover
    recover_limit: int = 500  # most messages that a returning subscriber gets
    tail_entries: int = 200  # kept in memory for each channel
    tail_bytes: int = 256 * 1024
    hole_patience: float = 0.02  # a message may overtake another by this much before we read again, s
    check_seconds: float = 5.0  # how often heads are compared with the store, s
    check_seconds_degraded: float = 1.0  # the same while the broker is gone, s
    doubt_seconds: float = 1.0  # rights are asked again so often while the broker is gone, s
    presence_seconds: float = 2.0  # viewers are counted and told this often, s
    idle_seconds: float = 60.0  # an empty channel is kept this long for those who come back, s
    slice_seconds: float = 0.002  # writing to many holds the loop no longer than this at once, s
    ticks: Mapping[str, float] = field(default_factory=dict)  # kind of channel: messages are gathered so long, s
    busy_tick: float = 0.05  # kinds without a tick gather only when busy, and no longer than this, s
    crowded_bytes: int = 1024 * 1024  # with more waiting to be said in a channel, publishing there has to wait
    crowds: CrowdOptions = field(default_factory=CrowdOptions)
    typing: TypingOptions = field(default_factory=TypingOptions)
