"""What nodes tell each other over the broker, on the topic of the channel it is about."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import msgspec

from realtime.protocol.codec import Payload
from realtime.rules import Entry


class Envelope(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True):
    node: str
    channel: str


class Delivery(Envelope, frozen=True, kw_only=True, array_like=True, tag="d"):
    """A stored message. `erased` is a place whose data is now `erased_data`, as after a deletion. `views`,
    `erased_views`: what some people have there instead.
    """

    epoch: str
    offset: int
    data: bytes
    erased: int = 0
    erased_data: bytes = b""
    views: dict[UUID, bytes] = {}
    erased_views: dict[UUID, bytes] = {}

    @classmethod
    def of(cls, node: str, channel: str, epoch: str, entry: Entry) -> Delivery:
        erases = entry.erases
        return cls(
            node=node,
            channel=channel,
            epoch=epoch,
            offset=entry.offset,
            data=entry.payload.json,
            erased=erases.offset if erases is not None else 0,
            erased_data=erases.payload.json if erases is not None else b"",
            views=_bytes(entry.views),
            erased_views=_bytes(erases.views) if erases is not None else {},
        )

    def entry(self) -> Entry:
        erases = Entry(self.erased, Payload(self.erased_data), None, _payloads(self.erased_views))
        return Entry(self.offset, Payload(self.data), erases if self.erased else None, _payloads(self.views))


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


class Reread(Envelope, frozen=True, kw_only=True, array_like=True, tag="f"):
    """What stood in the channel is not so any more: keep nothing of it."""


class Wanted(Envelope, frozen=True, kw_only=True, array_like=True, tag="w"):
    """Somebody at this node looks at who is in the channel: tell presence who is there at yours."""


class Typed(Envelope, frozen=True, kw_only=True, array_like=True, tag="t"):
    """Somebody at this node is writing, or no more."""

    user: str
    username: str
    typing: bool


class Whereabouts(Envelope, frozen=True, kw_only=True, array_like=True, tag="o"):
    """To all nodes: these people have come online or gone; or, with `channel`, this one follows others than before."""

    ids: list[str]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(
    Delivery | StateChange | ViewerCount | Revocation | Gap | Reread | Wanted | Typed | Whereabouts
).decode


def _bytes(views: Mapping[UUID, Payload]) -> dict[UUID, bytes]:
    return {who: payload.json for who, payload in views.items()}


def _payloads(views: dict[UUID, bytes]) -> dict[UUID, Payload]:
    return {who: Payload(data) for who, data in views.items()}
