"""Every message of the socket as a tagged struct. `type` is the tag.

Clients number their messages with `id`; the answer (`ack` or `error`) carries it. What the server sends unasked has
no `id`.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

VERSION = 1

Id = Annotated[int, Meta(ge=0, le=2**53 - 1, description="chosen by the client, repeated in the answer")]
Offset = Annotated[int, Meta(ge=0, le=2**53 - 1, description="place in the channel's sequence; dense")]
ChannelName = Annotated[str, Meta(min_length=1, max_length=200, description="as live:0192f0c1-…")]


class Position(Struct, frozen=True):
    """A place in a channel. Offsets of different epochs cannot be compared."""

    epoch: Annotated[str, Meta(max_length=64)]
    offset: Offset


# from the client


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    id: Id | None = None


class Authenticate(ClientMessage, frozen=True, kw_only=True, tag="authenticate"):
    """Sign in, or renew before the token expires; may come at any time."""

    token: Annotated[str, Meta(min_length=1, max_length=8192)]


class Subscribe(ClientMessage, frozen=True, kw_only=True, tag="subscribe"):
    """Hold a channel. With `since` the answer has exactly what came after it, when that is still known. With `presence`
    a `members` message follows the answer, and others when people come and go; without, that ends.
    """

    channel: ChannelName
    since: Position | None = None
    presence: bool = False


class Unsubscribe(ClientMessage, frozen=True, kw_only=True, tag="unsubscribe"):
    """Let go of a channel: nothing more of it comes."""

    channel: ChannelName


class Publish(ClientMessage, frozen=True, kw_only=True, tag="publish"):
    """`data` is the feature's: chat takes {text, media_time?, nonce?} or {delete: message id}."""

    channel: ChannelName
    data: dict[str, Any]


class Typing(ClientMessage, frozen=True, kw_only=True, tag="typing"):
    """The person is writing; to be said again every 3 s while that goes on. `typing: false`: no more."""

    channel: ChannelName
    typing: bool = True


class Ping(ClientMessage, frozen=True, kw_only=True, tag="ping"):
    """Answered by an ack. For clients that cannot send WebSocket pings, as browsers."""


FromClient = Authenticate | Subscribe | Unsubscribe | Publish | Typing | Ping


# from the server


class User(Struct, frozen=True):
    id: str
    username: str


class ServerMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    pass


class Welcome(ServerMessage, frozen=True, kw_only=True, tag="welcome"):
    """The first message on every connection."""

    node: str
    version: int = VERSION
    user: User | None = None
    ping_seconds: float = 0.0


class Ack(ServerMessage, frozen=True, kw_only=True, tag="ack", omit_defaults=True):
    """Done. After `authenticate` with the user; after `publish` with the place and what the feature answered."""

    id: int | None
    user: User | None = None
    epoch: str | None = None
    offset: int | None = None
    data: Any = None


class Item(Struct, frozen=True):
    """One message of a channel's history."""

    offset: int
    data: Any


class SubscribeAck(ServerMessage, frozen=True, kw_only=True, tag="ack"):
    """`messages` are what was missed since the given place when `recovered`, else the latest ones. `offset` is the
    place after them.
    """

    id: int | None
    channel: str
    epoch: str
    offset: int
    recovered: bool
    messages: list[Item]
    viewers: int
    state: Any


class Error(ServerMessage, frozen=True, kw_only=True, tag="error", omit_defaults=True):
    """The message with this `id` was refused. Nothing of it happened, unless the code is `unavailable`: then it
    may have.
    """

    id: int | None
    code: str
    message: str
    retry_after: float | None = None


class Message(ServerMessage, frozen=True, kw_only=True, tag="message"):
    """The next message of a channel: its offset is one more than the last."""

    channel: str
    epoch: str
    offset: int
    data: Any


class Presence(ServerMessage, frozen=True, kw_only=True, tag="presence"):
    """How many view the channel: distinct viewers, not connections. At most every 2 s, only on change."""

    channel: str
    viewers: int


class Members(ServerMessage, frozen=True, kw_only=True, tag="members", omit_defaults=True):
    """Who holds the channel, for those who subscribed with `presence`. `people`: these alone, whoever was known before;
    else `joined` came and `left` (ids) went. `count`: distinct people and guests, also those who are not named.
    `sampled`: the room is too large to name everybody: `people` are some of them, and only the count is kept up.
    """

    channel: str
    count: int
    people: list[User] | None = None
    joined: list[User] = []
    left: list[str] = []
    sampled: bool = False


class MembersClosed(ServerMessage, frozen=True, kw_only=True, tag="members_closed"):
    """No more `members` of this channel: the right to see them was lost. The subscription goes on."""

    channel: str
    code: str
    message: str


class Typists(ServerMessage, frozen=True, kw_only=True, tag="typing"):
    """Who else is writing in the channel just now: all of it, so nobody when it is empty. `more`: beside the named."""

    channel: str
    people: list[User]
    more: int = 0


class State(ServerMessage, frozen=True, kw_only=True, tag="state"):
    """An ephemeral fact about the channel's subject. The latest one counts; none is numbered."""

    channel: str
    data: Any


class Closed(ServerMessage, frozen=True, kw_only=True, tag="closed"):
    """The subscription is over; the connection is not."""

    channel: str
    code: str
    message: str


class Notice(ServerMessage, frozen=True, kw_only=True, tag="notice"):
    """About the server or the session: `degraded`, `restored`, `token_expired`."""

    code: str
    message: str


FROM_CLIENT: tuple[type[ClientMessage], ...] = (Authenticate, Subscribe, Unsubscribe, Publish, Typing, Ping)
FROM_SERVER: tuple[type[ServerMessage], ...] = (
    Welcome,
    Ack,
    SubscribeAck,
    Error,
    Message,
    Presence,
    Members,
    MembersClosed,
    Typists,
    State,
    Closed,
    Notice,
)
