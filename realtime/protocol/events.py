"""Server-sent events (HTML Living Standard, section 9.2): the same messages as over the socket, one event each.

`event` is the message's type, `data` the message as JSON. `id` is the place of every channel of the stream, so that the
`Last-Event-ID` with which a browser comes back says all that recovery needs: `channel@epoch@offset`, joined by spaces.
"""

from __future__ import annotations

import msgspec

from realtime.protocol import frames
from realtime.protocol.codec import JSON, Codec
from realtime.protocol.codes import CloseCode
from realtime.protocol.messages import Message, Position, ServerMessage, SubscribeAck

MOST_CHANNELS = 50


class Ended(ServerMessage, frozen=True, kw_only=True, tag="end"):
    """The last event of a stream. `code` and its ranges are those of the socket's close codes."""

    code: int
    message: str


class EventCodec(Codec):
    """For streams of one channel: an event's id is its own place, so its bytes are the same for all of them.

    `chunked`: with the framing of HTTP/1.1's chunked coding, which is then shared too.
    """

    listens = True

    def __init__(self, *, chunked: bool) -> None:
        super().__init__(
            "",
            frames.TEXT,
            msgspec.json.Encoder().encode,
            JSON.decode,
            JSON._decode_number,
            lambda payload: payload.json,
        )
        self._chunked = chunked
        self.heartbeat = self.wrap(b":\n\n")

    def frame(self, message: ServerMessage) -> bytes:
        kind = str(message.__struct_config__.tag).encode()
        body = self._encode(message).replace(b"\n", b" ").replace(b"\r", b" ")  # outside of strings JSON may hold them
        place = self._place(message) if isinstance(message, Message | SubscribeAck) else b""
        return self.wrap(b"event: %b\n%bdata: %b\n\n" % (kind, place, body))

    def close(self, code: CloseCode) -> bytes:
        return self.frame(Ended(code=code.value, message=code.sentence))

    def wrap(self, text: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(text), text) if self._chunked else text

    def _place(self, message: Message | SubscribeAck) -> bytes:
        return b"id: %b\n" % _written(message.channel, message.epoch, message.offset)


class ManyEventCodec(EventCodec):
    """For one stream of several channels: an id tells all places, so its events are framed for it alone."""

    def __init__(self, *, chunked: bool) -> None:
        super().__init__(chunked=chunked)
        self._places: dict[str, bytes] = {}

    def begin(self, places: dict[str, Position]) -> None:
        """What the stream came back with; else a stream that breaks while it begins would forget it."""
        for channel, place in places.items():
            self._places[channel] = _written(channel, place.epoch, place.offset)

    def _place(self, message: Message | SubscribeAck) -> bytes:
        self._places[message.channel] = _written(message.channel, message.epoch, message.offset)
        return b"id: %b\n" % b" ".join(self._places.values())


def read_places(text: str) -> dict[str, Position]:
    """What `Last-Event-ID` says; what makes no sense in it says nothing."""
    places: dict[str, Position] = {}
    for part in text.split(" ")[:MOST_CHANNELS]:
        channel, _, rest = part.partition("@")
        epoch, _, offset = rest.rpartition("@")
        if channel and 0 < len(epoch) <= 64 and offset.isascii() and offset.isdigit() and len(offset) <= 15:
            places[channel] = Position(epoch, int(offset))
    return places


def good_name(channel: str) -> bool:
    """Whether a channel of this name can be told in an id."""
    return 0 < len(channel) <= 200 and channel.isascii() and channel.isprintable() and not set(channel) & set(" @,")


def _written(channel: str, epoch: str, offset: int) -> bytes:
    return f"{channel}@{epoch}@{offset}".encode()
