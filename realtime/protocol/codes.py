"""Error codes and close codes, each with the sentence a client developer needs.

An error answers one message; the connection goes on. A close code ends the connection, and its range says what a
client does:

- 4000 to 4099: connect again, after a random wait of up to 2 s, with `since`.
- 4100 to 4199: connect again, but back off (double the wait from 5 s up to 60 s).
- 4200 to 4299: do not connect again before something has changed (a new version of the client, a sign-in).

Of the codes of RFC 6455, 1001, 1006, 1011 and 1012 count as the first range, 1002, 1003, 1007, 1008, 1009 as the last.
"""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """Why the server ended a connection."""

    sentence: str

    def __new__(cls, value: int, sentence: str) -> CloseCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    RECONNECT_ELSEWHERE = 4000, "This server is stopping; connect again."
    SLOW_CONSUMER = 4001, "You read slower than messages came; connect again with your last offsets."
    DEAD_PEER = 4002, "Nothing was heard from you for too long."

    TOO_MANY_MESSAGES = 4100, "You kept sending faster than allowed."

    BAD_MESSAGES = 4200, "You kept sending messages that make no sense."
    UNSUPPORTED = 4201, "This message format is not the one that was agreed on."
    SIGNED_OUT = 4202, "The account may no longer connect; sign in again."

    @property
    def reconnect(self) -> bool:
        """Whether a client may connect again without anything having changed."""
        return self.value < 4200


class ErrorCode(enum.StrEnum):
    """Why one message was refused. Features may answer codes of their own beside these."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> ErrorCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    BAD_MESSAGE = "bad_message", "The message is not one of the protocol."
    UNAUTHENTICATED = "unauthenticated", "The token is not valid, or this needs a signed-in user."
    TOKEN_EXPIRED = "token_expired", "The token has expired: you are a guest until you authenticate again."
    FORBIDDEN = "forbidden", "You may not do this in this channel."
    UNKNOWN_CHANNEL = "unknown_channel", "There is no such channel."
    NOT_SUBSCRIBED = "not_subscribed", "You are not subscribed to this channel."
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions", "This connection holds as many channels as it may."
    RATE_LIMITED = "rate_limited", "Too fast: try again after `retry_after` seconds."
    CLOSED = "closed", "The channel takes no more messages; it can still be read."
    HISTORY_DISCARDED = "history_discarded", "The channel began anew: subscribe again for its fresh state."
    UNAVAILABLE = "unavailable", "Something behind the server does not answer; try again, with the same nonce."
    INTERNAL = "internal", "The server failed; the failure is logged."


class NoticeCode(enum.StrEnum):
    """What the server tells every client about itself."""

    sentence: str

    def __new__(cls, value: str, sentence: str) -> NoticeCode:
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member

    DEGRADED = "degraded", "Servers cannot reach each other: messages from other servers come late, counts are partial."
    RESTORED = "restored", "Servers reach each other again; what was missed has been delivered."
