"""Why something is not done in a chat."""

from __future__ import annotations

from server.kit.problems import Conflict, Forbidden, Invalid, NotFound, TooManyRequests, Unavailable


class NoSuchRoom(NotFound):
    code = "unknown_channel"
    title = "There is no such broadcast"


class NoSuchMessage(NotFound):
    code = "unknown_message"
    title = "There is no such message in this chat"


class NoSuchPerson(NotFound):
    code = "unknown_user"
    title = "There is no such account"


class NoSuchFilter(NotFound):
    code = "unknown_filter"
    title = "There is no such word filter"


class NoSuchEmote(NotFound):
    code = "unknown_emote"
    title = "The channel has no such emote"


class RoomClosed(Conflict):
    code = "closed"
    title = "The chat has ended"


class TooMany(Conflict):
    """Take one away first. `most` says how many there may be."""

    code = "too_many"
    title = "There are as many as there may be"


class TooLate(Conflict):
    code = "too_late"
    title = "The message is too old to be edited"


class ModeUnavailable(Conflict):
    """Nobody can follow or subscribe here, so the mode would silence everybody."""

    code = "mode_unavailable"
    title = "This server does not know what the mode asks for"


class BadText(Invalid):
    code = "bad_text"
    title = "The text cannot be a chat message"


class BadReaction(Invalid):
    code = "bad_reaction"
    title = "That is neither one emoji nor an emote"


class BadPattern(Invalid):
    code = "bad_pattern"
    title = "There is no word in the filter"


class BadBan(Invalid):
    code = "bad_ban"
    title = "A time-out, and only a time-out, has seconds"


class BadMode(Invalid):
    code = "bad_mode"
    title = "The mode goes beyond what this server allows"


class BadEmote(Invalid):
    code = "bad_emote"
    title = "An emote is a name and emoji"


class NotYours(Forbidden):
    title = "This takes another role in the chat"


class BannedHere(Forbidden):
    """`until`: null when it is for good."""

    code = "banned"
    title = "The caller may not write in this chat"


class FollowersOnly(Forbidden):
    code = "followers_only"
    title = "Only followers may write just now"


class SubscribersOnly(Forbidden):
    code = "subscribers_only"
    title = "Only subscribers may write just now"


class EmotesOnly(Forbidden):
    code = "emotes_only"
    title = "Only emotes may be written just now"


class NotUnique(Forbidden):
    code = "not_unique"
    title = "The same was said a short while ago"


class Filtered(Forbidden):
    code = "filtered"
    title = "The channel does not want a word of this"


class TooFast(TooManyRequests):
    code = "rate_limited"
    title = "Too many messages"


class SlowMode(TooManyRequests):
    code = "slow_mode"
    title = "The chat is in slow mode"


class NotStored(Unavailable):
    title = "The change may not have been stored"
