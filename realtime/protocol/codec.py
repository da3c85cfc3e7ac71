"""The two formats of the wire. Both carry the same structs; the subprotocol says which."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from realtime.protocol import frames
from realtime.protocol.codes import CloseCode
from realtime.protocol.messages import FromClient, Id, ServerMessage

_LONG, _LONGEST = 4 * 1024, 64 * 1024  # answers that are worth compressing, and do not hold the loop for it, bytes
_ANSWERS = 16  # long ones that are known again


class Malformed(Exception):
    """Not a message of the protocol. `id` is the client's number when one could be read."""

    def __init__(self, detail: str, id: int | None) -> None:
        super().__init__(detail)
        self.id = id


class _Numbered(msgspec.Struct):
    id: Id | None = None


class Payload:
    """The data of one message, encoded once for each format that somebody asks for. JSON is the form that travels
    and rests.
    """

    __slots__ = ("_msgpack", "json")

    def __init__(self, json: bytes) -> None:
        self.json = json
        self._msgpack: bytes | None = None

    @property
    def msgpack(self) -> bytes:
        if self._msgpack is None:
            self._msgpack = msgspec.msgpack.encode(msgspec.json.decode(self.json))
        return self._msgpack


class Codec:
    """One format: its subprotocol, its frames, its bytes. Connections with the same codec get the same bytes."""

    listens = False  # whether the peer cannot speak, so that hearing nothing from it means nothing
    heartbeat = frames.frame(frames.PING, b"")

    def __init__(
        self,
        subprotocol: str,
        opcode: int,
        encode: Callable[[Any], bytes],
        decode: Callable[[bytes | str], FromClient],
        decode_number: Callable[[bytes | str], _Numbered],
        raw: Callable[[Payload], bytes],
    ) -> None:
        self.subprotocol = subprotocol
        self.opcode = opcode
        self._encode = encode
        self._decode = decode
        self._decode_number = decode_number
        self._raw = raw

    def frame(self, message: ServerMessage) -> bytes:
        """The message as the bytes of one WebSocket frame."""
        return frames.frame(self.opcode, self._encode(message))

    def frame_for_all(self, message: ServerMessage) -> bytes:
        """The same, of a message whose bytes go to many."""
        return self.frame(message)

    def close(self, code: CloseCode) -> bytes:
        """The last bytes of a connection."""
        return frames.close(code, code.sentence)

    def raw(self, payload: Payload) -> msgspec.Raw:
        """The payload to be put into a message's `data` as it is."""
        return msgspec.Raw(self._raw(payload))

    def decode(self, body: bytes | str) -> FromClient:
        """Raises Malformed, whatever the bytes."""
        try:
            return self._decode(body)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            detail = "too deeply nested" if isinstance(error, RecursionError) else str(error)[:300]
        try:
            number = self._decode_number(body).id
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            number = None
        raise Malformed(detail, number)


class Deflated(Codec):
    """A codec for peers that agreed on permessage-deflate (RFC 7692): what goes to many is compressed once, without a
    context, when it is large enough to pay. Answers to one connection are not, theirs would be work for each: but for
    long ones that several get alike, as those do who were cut off together and come back to one place of a channel.
    """

    def __init__(self, codec: Codec, above: int) -> None:
        super().__init__(
            codec.subprotocol, codec.opcode, codec._encode, codec._decode, codec._decode_number, codec._raw
        )
        self._above = above
        self._answers: OrderedDict[bytes, bytes] = OrderedDict()  # what was answered lately → its frame, or b"" if once

    def frame(self, message: ServerMessage) -> bytes:
        payload = self._encode(message)
        size = len(payload)
        if not _LONG <= size <= _LONGEST or size < self._above:
            return frames.frame(self.opcode, payload)
        answers = self._answers
        known = answers.get(payload)
        if known is None:
            answers[payload] = b""
            if len(answers) > _ANSWERS:
                answers.popitem(last=False)
            return frames.frame(self.opcode, payload)
        if not known:
            known = answers[payload] = frames.deflated(self.opcode, payload, 1)
        answers.move_to_end(payload)
        return known

    def frame_for_all(self, message: ServerMessage) -> bytes:
        payload = self._encode(message)
        if len(payload) < self._above:
            return frames.frame(self.opcode, payload)
        return frames.deflated(self.opcode, payload)


def _json(payload: Payload) -> bytes:
    return payload.json


def _msgpack(payload: Payload) -> bytes:
    return payload.msgpack


JSON = Codec(
    "socialflow.v1.json",
    frames.TEXT,
    msgspec.json.Encoder().encode,
    msgspec.json.Decoder(FromClient).decode,
    msgspec.json.Decoder(_Numbered).decode,
    _json,
)
MSGPACK = Codec(
    "socialflow.v1.msgpack",
    frames.BINARY,
    msgspec.msgpack.Encoder().encode,
    msgspec.msgpack.Decoder(FromClient).decode,  # type: ignore[arg-type]  # gets only bytes
    msgspec.msgpack.Decoder(_Numbered).decode,  # type: ignore[arg-type]
    _msgpack,
)
CODECS = {codec.subprotocol: codec for codec in (JSON, MSGPACK)}
