"""The wire: whatever comes in is a message or a clear refusal, and what goes out is what RFC 6455 says."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from aiohttp import WSMsgType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.protocol import frames, messages
from realtime.protocol.codec import CODECS, JSON, MSGPACK, Codec, Malformed, Payload
from realtime.protocol.codes import CloseCode, ErrorCode, NoticeCode
from tests.realtime.stage import Feature, Node, Tokens, running

json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
message_like = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["authenticate", "subscribe", "unsubscribe", "publish", "ping", "x"]) | json_like,
        "id": st.integers(-5, 2**54) | json_like,
        "channel": st.sampled_from(["live:room", "live:none", "", "x:y"]) | json_like,
        "since": st.fixed_dictionaries({"epoch": st.text(max_size=3), "offset": st.integers(-1, 5)}) | json_like,
        "data": st.dictionaries(st.sampled_from(["text", "delete", "nonce"]), json_like) | json_like,
        "token": json_like,
    },
)


@given(body=st.binary(max_size=200) | message_like.map(repr).map(str.encode))
@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.subprotocol)
def test_any_bytes_are_a_message_or_malformed(codec: Codec, body: bytes) -> None:
    try:
        message = codec.decode(body)
    except Malformed:
        return
    assert isinstance(message, messages.ClientMessage)


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.subprotocol)
def test_deep_nesting_is_malformed(codec: Codec) -> None:
    deep = b"[" * 5000 if codec is JSON else b"\x91" * 5000
    with pytest.raises(Malformed):
        codec.decode(deep)
    inside = b'{"type":"publish","channel":"x","id":7,"data":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    if codec is JSON:
        with pytest.raises(Malformed, match="deeply"):
            codec.decode(inside)


def test_the_number_of_a_malformed_message_is_answered() -> None:
    for codec, encode in ((JSON, msgspec.json.encode), (MSGPACK, msgspec.msgpack.encode)):
        with pytest.raises(Malformed) as caught:
            codec.decode(encode({"type": "subscribe", "id": 7, "channel": 1}))
        assert caught.value.id == 7


@given(payload=st.binary(max_size=300))
def test_frames_parse_as_what_they_are(payload: bytes) -> None:
    frame = frames.frame(frames.BINARY, payload)
    assert frame[0] == 0x82
    if len(payload) < 126:
        assert (frame[1], frame[2:]) == (len(payload), payload)
    else:
        assert (frame[1], int.from_bytes(frame[2:4], "big"), frame[4:]) == (126, len(payload), payload)


@given(data=json_like.filter(lambda value: "nan" not in repr(value) and "inf" not in repr(value)))
def test_data_is_the_same_in_both_formats(data: Any) -> None:
    try:
        payload = Payload(msgspec.json.encode(data))
        plain = msgspec.json.decode(payload.json)
        packed = payload.msgpack
    except (msgspec.MsgspecError, OverflowError):
        return  # integers beyond 64 bits
    assert msgspec.msgpack.decode(packed) == plain
    message = messages.Message(channel="x", epoch="1", offset=1, data=MSGPACK.raw(payload))
    assert msgspec.msgpack.decode(MSGPACK.frame(message)[2:] if len(packed) < 60 else packed)


def test_every_code_has_a_sentence_and_its_range_says_what_to_do() -> None:
    for code in (*CloseCode, *ErrorCode, *NoticeCode):
        assert code.sentence.endswith((".", "!"))
    for close in CloseCode:
        assert 4000 <= close < 4300
        assert close.reconnect is (close < 4200)
        assert len(close.sentence.encode()) <= 123  # RFC 6455 section 5.5
    assert len(set(CloseCode)) == len(CloseCode.__members__)


@pytest.mark.parametrize("format", ["json", "msgpack"])
async def test_arbitrary_frames_over_a_real_socket(format: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a client says is answered or closes its connection; the server goes on and logs no errors."""
    feature, tokens = Feature(), Tokens()
    node = Node(feature, tokens)
    feature.hub = node.hub
    encode = msgspec.json.encode if format == "json" else msgspec.msgpack.encode
    opcode = WSMsgType.TEXT if format == "json" else WSMsgType.BINARY
    bodies: list[bytes] = []

    @settings(max_examples=150, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=60) | message_like)
    def collect(value: Any) -> None:
        with suppress(msgspec.MsgspecError, OverflowError, UnicodeEncodeError):
            bodies.append(value if isinstance(value, bytes) else encode(value))

    collect()
    async with running(node):
        witness = await node.connect()
        await witness.ask("subscribe", channel="live:witness")
        client = await node.connect(tokens.sign_in("ann"), format=format)
        for body in bodies:
            if client.close_code is not None or client.socket.closed:
                client = await node.connect(tokens.sign_in("ann"), format=format)
            try:
                await client.socket.send_frame(body, opcode)
            except ConnectionError:
                continue
            await asyncio.sleep(0)
        node.say("live:witness", "still here")
        assert (await witness.hear("message"))["data"] == "still here"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
