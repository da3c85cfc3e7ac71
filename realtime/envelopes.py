"""What nodes tell each other over the broker, on the topic of the channel it is about."""

from __future__ import annotations

import msgspec


class Envelope(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    node: str
    channel: str


class Delivery(Envelope, frozen=True, kw_only=True, array_like=True, tag="d"):
    """A stored message. `erased` is a place whose data is now `erased_data`, as after a deletion."""

    epoch: str
    offset: int
    data: bytes
    erased: int = 0
    erased_data: bytes = b""


class StateChange(Envelope, frozen=True, kw_only=True, array_like=True, tag="s"):
    data: bytes


class ViewerCount(Envelope, frozen=True, kw_only=True, array_like=True, tag="v"):
    viewers: int | None


class Revocation(Envelope, frozen=True, kw_only=True, array_like=True, tag="r"):
    """`user`: only this one; empty: everybody. `ask`: the rules decide for each."""

    code: str
    message: str
    user: str = ""
    ask: bool = False


class Gap(Envelope, frozen=True, kw_only=True, array_like=True, tag="g"):
    """To all nodes: something that this node said may not have reached you."""


class Wanted(Envelope, frozen=True, kw_only=True, array_like=True, tag="w"):
    """Somebody at this node looks at who is in the channel: tell presence who is there at yours."""


class Typed(Envelope, frozen=True, kw_only=True, array_like=True, tag="t"):
    """Somebody at this node is writing, or no more."""

    user: str
    username: str
    typing: bool


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Delivery | StateChange | ViewerCount | Revocation | Gap | Wanted | Typed).decode
