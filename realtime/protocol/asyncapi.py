"""The socket and the event stream as an AsyncAPI 3.0 document, made from the structs, so that it cannot drift from what
is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from realtime.protocol.codec import CODECS
from realtime.protocol.codes import CloseCode, ErrorCode, NoticeCode
from realtime.protocol.events import MOST_CHANNELS, Ended
from realtime.protocol.examples import EXAMPLES
from realtime.protocol.messages import FROM_CLIENT, FROM_SERVER, Ack, Error, SubscribeAck, Welcome

_SCHEMAS = "#/components/schemas/{name}"
_ANSWERS = (Ack, SubscribeAck, Error)
_STREAMED: tuple[type[msgspec.Struct], ...] = (
    *(kind for kind in FROM_SERVER if kind not in (Welcome, Ack, Error)),
    Ended,
)
_EVERYTHING: tuple[type[msgspec.Struct], ...] = (*FROM_CLIENT, *FROM_SERVER, Ended)

Kinds = Iterable[type[msgspec.Struct]]


def asyncapi(*, title: str, version: str, host: str, secure: bool) -> dict[str, Any]:
    """JSON-like. `host`: as example.org:8080, where `/ws` and `/events` are."""
    _, schemas = msgspec.json.schema_components(_EVERYTHING, ref_template=_SCHEMAS)
    schemas |= _code_schemas()
    schemas["Ended"]["properties"]["code"] = {"$ref": _SCHEMAS.format(name="CloseCode")}
    schemas["Error"]["properties"]["code"] = {"$ref": _SCHEMAS.format(name="ErrorCode")}
    schemas["Notice"]["properties"]["code"] = {"$ref": _SCHEMAS.format(name="NoticeCode")}
    s = "s" if secure else ""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": _DESCRIPTION},
        "defaultContentType": "application/json",
        "servers": {
            "sockets": {"host": host, "protocol": f"ws{s}"},
            "streams": {"host": host, "protocol": f"http{s}"},
        },
        "channels": {
            "socket": {
                "address": "/ws",
                "title": "The WebSocket",
                "description": _SOCKET,
                "servers": [{"$ref": "#/servers/sockets"}],
                "messages": _messages(kind for kind in _EVERYTHING if kind is not Ended),
                "bindings": {"ws": {"method": "GET", "headers": _SUBPROTOCOLS, "bindingVersion": "0.1.0"}},
            },
            "events": {
                "address": "/events",
                "title": "Server-sent events",
                "description": _EVENTS,
                "servers": [{"$ref": "#/servers/streams"}],
                "messages": _messages(_STREAMED),
            },
        },
        "operations": {
            "fromClient": {
                **_operation("receive", "socket", FROM_CLIENT),
                "summary": "What clients say. Whatever has an `id` is answered once, with the same `id`.",
                "reply": {
                    "channel": {"$ref": "#/channels/socket"},
                    "messages": _references("socket", _ANSWERS),
                },
            },
            "fromServer": {
                **_operation("send", "socket", FROM_SERVER),
                "summary": "What the server says, answers and what nobody asked for.",
            },
            "listen": {
                **_operation("send", "events", _STREAMED),
                "summary": "The same messages as one event each; `end` is the last one.",
                "bindings": {"http": {"method": "GET", "query": _QUERY, "bindingVersion": "0.3.0"}},
            },
        },
        "components": {
            "messages": {kind.__name__: _message(kind) for kind in _EVERYTHING},
            "schemas": schemas,
            "correlationIds": {
                "id": {"description": "The client's number of its message.", "location": "$message.payload#/id"}
            },
        },
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    tag = str(kind.__struct_config__.tag)
    numbered = "id" in kind.__struct_fields__
    return {
        "name": tag,
        "title": kind.__name__,
        "summary": " ".join((kind.__doc__ or "").split()),
        "payload": {"$ref": _SCHEMAS.format(name=kind.__name__)},
        **({"correlationId": {"$ref": "#/components/correlationIds/id"}} if numbered else {}),
        "examples": [{"name": tag, "payload": payload} for payload in EXAMPLES[kind.__name__]],
    }


def _messages(kinds: Kinds) -> dict[str, Any]:
    return {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in kinds}


def _operation(action: str, channel: str, kinds: Kinds) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": _references(channel, kinds),
    }


def _references(channel: str, kinds: Kinds) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{channel}/messages/{kind.__name__}"} for kind in kinds]


def _code_schemas() -> dict[str, Any]:
    """Every code with its sentence, for programs that are made from the document."""
    return {
        "CloseCode": {
            "title": "CloseCode",
            "description": "Why a connection or a stream ended. " + _RANGES,
            "type": "integer",
            "oneOf": [
                {"const": code.value, "title": code.name, "description": code.sentence, "x-reconnect": code.reconnect}
                for code in CloseCode
            ],
        },
        "ErrorCode": {
            "title": "ErrorCode",
            "description": "Why a message was refused. Features have codes of their own beside these.",
            "type": "string",
            "anyOf": [
                *({"const": code.value, "title": code.name, "description": code.sentence} for code in ErrorCode),
                {"title": "A feature's own", "pattern": "^[a-z_]+$"},
            ],
        },
        "NoticeCode": {
            "title": "NoticeCode",
            "description": "What concerns the server or the session. Sign-in speaks by its error codes.",
            "type": "string",
            "oneOf": [
                {"const": code.value, "title": code.name, "description": code.sentence}
                for code in (*NoticeCode, ErrorCode.UNAUTHENTICATED, ErrorCode.TOKEN_EXPIRED)
            ],
        },
    }


_RANGES = (
    "4000 to 4099: connect again after a random wait of up to 2 s, with `since`. 4100 to 4199: connect again, but back "
    "off. 4200 to 4299: not before something has changed."
)

_SOCKET = (
    "Channels that lose nothing: each has an epoch and dense offsets; `subscribe` with `since` gets exactly what was "
    "missed. Formats by subprotocol: " + ", ".join(f"`{name}`" for name in CODECS) + "; JSON when none is offered. "
    "A token may be offered beside it as `token.<access token>`, or said with `authenticate`."
)

_EVENTS = (
    "The channels of the socket for what only listens: `event` is the message's type, `data` the message as JSON in "
    "one line, `id` what goes back as `Last-Event-ID`. One `ack` for each channel comes first."
)

_SUBPROTOCOLS = {
    "type": "object",
    "properties": {
        "Sec-WebSocket-Protocol": {
            "type": "string",
            "description": "A format and, if wanted, a token, joined by a comma.",
            "examples": [f"{next(iter(CODECS))}, token.eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"],
        }
    },
}

_QUERY = {
    "type": "object",
    "required": ["channels"],
    "properties": {
        "channels": {"type": "string", "description": f"1 to {MOST_CHANNELS} names, joined by commas"},
        "last_event_id": {"type": "string", "description": "for who cannot set the header `Last-Event-ID`"},
    },
}


def _description() -> str:
    lines = ["Subprotocols: " + ", ".join(f"`{name}`" for name in CODECS) + "."]
    for title, codes in (("Close codes", CloseCode), ("Error codes", ErrorCode), ("Notice codes", NoticeCode)):
        lines += ["", f"{title}:", ""]
        lines += [f"- `{code.value}`: {code.sentence}" for code in codes]
    return "\n".join(lines)


_DESCRIPTION = _description()
