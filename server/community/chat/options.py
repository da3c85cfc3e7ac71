"""How much of everything a chat may have. Each is a setting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    max_length: int = 500  # characters
    burst: int = 5  # messages that an author may send at once…
    interval: float = 1.0  # …then one each, s
    reaction_burst: int = 20  # reactions that a person may give or take at once…
    reaction_interval: float = 0.5  # …then one each, s
    edit_seconds: float = 900.0  # after which its author cannot edit a message any more; 0: he never can
    mentions: int = 10  # people that one message may mention; further names are plain text
    reactions: int = 20  # different reactions to one message
    pins: int = 3  # pinned messages
    moderators: int = 100  # of one channel
    bans: int = 10_000  # of one channel that hold at once
    filters: int = 200  # word filters of one channel
    emotes: int = 100  # of one channel
    slow_most: int = 3600  # longest slow mode, s
    delay_most: int = 30  # longest delay, s
    timeout_days: int = 14  # longest time-out
    unique_seconds: float = 600.0  # how far back the unique mode looks
    clear_most: int = 100  # latest messages that go with a ban
    state_messages: int = 50  # latest messages in the state
    state_seconds: float = 1.0  # how long the state and the end of the log are answered from memory
