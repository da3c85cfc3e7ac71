"""One or more messages of each kind as they stand on the wire in JSON, for the document. By the struct's name."""

from __future__ import annotations

from typing import Any

_CHANNEL = "live:01936e0c-7d1a-7c3e-9b3f-0a1b2c3d4e5f"
_ANN = {"id": "01936e0c-0000-7000-8000-000000000001", "username": "ann"}
_BEN = {"id": "01936e0c-0000-7000-8000-000000000002", "username": "ben"}
_SAID = {
    "kind": "message",
    "message": {
        "id": "01936e0d-1111-7000-8000-00000000000a",
        "author": _ANN,
        "text": "Good evening!",
        "at": "2026-11-21T14:30:00.120000Z",
        "media_time": None,
        "offset": 42,
    },
}
_AIR = {"state": "live"}

EXAMPLES: dict[str, list[dict[str, Any]]] = {
    # from the client
    "Authenticate": [{"type": "authenticate", "id": 1, "token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl"}],
    "Subscribe": [
        {"type": "subscribe", "id": 2, "channel": _CHANNEL},
        {"type": "subscribe", "id": 3, "channel": _CHANNEL, "since": {"epoch": "7", "offset": 41}},
    ],
    "Unsubscribe": [{"type": "unsubscribe", "id": 4, "channel": _CHANNEL}],
    "Publish": [
        {"type": "publish", "id": 5, "channel": _CHANNEL, "data": {"text": "Good evening!", "nonce": "f3a1"}},
        {"type": "publish", "id": 6, "channel": _CHANNEL, "data": {"delete": "01936e0d-1111-7000-8000-00000000000a"}},
    ],
    "Typing": [{"type": "typing", "id": 7, "channel": _CHANNEL, "typing": True}],
    "Ping": [{"type": "ping", "id": 8}],
    # from the server
    "Welcome": [{"type": "welcome", "node": "a", "version": 1, "user": _ANN, "ping_seconds": 8.0}],
    "Ack": [
        {"type": "ack", "id": 1, "user": _ANN},
        {"type": "ack", "id": 5, "epoch": "7", "offset": 42, "data": {**_SAID, "allowance": {"left": 4, "next_in": 0}}},
    ],
    "SubscribeAck": [
        {
            "type": "ack",
            "id": 3,
            "channel": _CHANNEL,
            "epoch": "7",
            "offset": 42,
            "recovered": True,
            "messages": [{"offset": 42, "data": _SAID}],
            "viewers": 310,
            "state": _AIR,
        }
    ],
    "Error": [
        {"type": "error", "id": 5, "code": "rate_limited", "message": "You are writing too fast.", "retry_after": 1.5}
    ],
    "Message": [{"type": "message", "channel": _CHANNEL, "epoch": "7", "offset": 42, "data": _SAID}],
    "Presence": [{"type": "presence", "channel": _CHANNEL, "viewers": 311}],
    "Members": [
        {"type": "members", "channel": _CHANNEL, "count": 2, "people": [_ANN]},
        {"type": "members", "channel": _CHANNEL, "count": 3, "joined": [_BEN]},
    ],
    "MembersClosed": [
        {
            "type": "members_closed",
            "channel": _CHANNEL,
            "code": "forbidden",
            "message": "You may not do this in this channel.",
        }
    ],
    "Typists": [{"type": "typing", "channel": _CHANNEL, "people": [_BEN], "more": 0}],
    "State": [{"type": "state", "channel": _CHANNEL, "data": _AIR}],
    "Closed": [
        {
            "type": "closed",
            "channel": _CHANNEL,
            "code": "history_discarded",
            "message": "The channel began anew: subscribe again for its fresh state.",
        }
    ],
    "Notice": [{"type": "notice", "code": "restored", "message": "Servers reach each other again."}],
    "Ended": [{"type": "end", "code": 4000, "message": "This server is stopping; connect again."}],
}
