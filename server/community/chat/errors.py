"""Why a chat message is not taken."""

from __future__ import annotations

from server.kit.problems import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable


class NoSuchRoom(NotFound):
    code = "unknown_channel"
    title = "There is no such broadcast"


class NoSuchMessage(NotFound):
    code = "unknown_message"
    title = "There is no such message in this chat"


class RoomClosed(Conflict):
    code = "closed"
    title = "The chat has ended"


class BadText(Invalid):
    code = "bad_text"
    title = "The text cannot be a chat message"


class NotYours(Forbidden):
    title = "Only its author and the broadcast's owner may delete a message"


class TooFast(TooManyRequests):
    code = "rate_limited"
    title = "Too many messages"


class NotStored(Unavailable):
    title = "The message may not have been stored"
