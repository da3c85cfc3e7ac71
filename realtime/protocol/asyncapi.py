"""The socket as an AsyncAPI 3.0 document, made from the structs, so that it cannot drift from what is sent."""

from __future__ import annotations

from typing import Any

import msgspec

from realtime.protocol.codec import CODECS
from realtime.protocol.codes import CloseCode, ErrorCode, NoticeCode
from realtime.protocol.messages import FROM_CLIENT, FROM_SERVER

_SCHEMAS = "#/components/schemas/{name}"


def asyncapi(*, title: str, version: str, host: str, secure: bool) -> dict[str, Any]:
    """JSON-like. `host`: as example.org:8080, where `/ws` is."""
    everything = (*FROM_CLIENT, *FROM_SERVER)
    _, schemas = msgspec.json.schema_components(everything, ref_template=_SCHEMAS)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version, "description": _description()},
        "defaultContentType": "application/json",
        "servers": {"this": {"host": host, "protocol": "wss" if secure else "ws"}},
        "channels": {
            "socket": {
                "address": "/ws",
                "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in everything},
            }
        },
        "operations": {
            "fromClient": _operation("receive", FROM_CLIENT),
            "fromServer": _operation("send", FROM_SERVER),
        },
        "components": {
            "messages": {
                kind.__name__: {
                    "name": kind.__struct_config__.tag,
                    "summary": (kind.__doc__ or "").partition("\n")[0].strip(),
                    "payload": {"$ref": _SCHEMAS.format(name=kind.__name__)},
                }
                for kind in everything
            },
            "schemas": schemas,
        },
    }


def _operation(action: str, kinds: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{kind.__name__}"} for kind in kinds],
    }


def _description() -> str:
    lines = ["Subprotocols: " + ", ".join(f"`{name}`" for name in CODECS) + "."]
    for title, codes in (("Close codes", CloseCode), ("Error codes", ErrorCode), ("Notice codes", NoticeCode)):
        lines += ["", f"{title}:", ""]
        lines += [f"- `{code.value}`: {code.sentence}" for code in codes]
    return "\n".join(lines)
