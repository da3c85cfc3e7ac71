"""The commands of a publisher and what they are answered with (RTMP 1.0, section 7.2; Enhanced RTMP, connect)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from media.protocols import amf
from media.protocols.errors import CommandError

MAX_TEXT = 1024
MAX_KEY = 512

FORWARD = 4.0
"""FourCcInfoMask.CanForward: we carry these, and neither decode nor encode them."""
VIDEO_FOURCC = ("avc1", "hvc1", "av01", "vp09")
AUDIO_FOURCC = ("mp4a", "Opus")
CAPS_MODEX = 4.0


@dataclass(frozen=True, slots=True)
class Command:
    """name(*arguments); `object` is the command object, empty when it is null or absent."""

    name: str
    transaction: float
    object: Mapping[str, amf.Value]
    arguments: Sequence[amf.Value]


def parse(values: Sequence[amf.Value]) -> Command:
    if not values or not isinstance(values[0], str):
        raise CommandError("a command without a name")
    transaction = values[1] if len(values) > 1 else 0.0
    first = values[2] if len(values) > 2 else None
    return Command(
        values[0],
        transaction if isinstance(transaction, float) else 0.0,
        first if isinstance(first, dict) else {},
        values[3:],
    )


def text_of(value: amf.Value) -> str:
    """A text argument, "" when it is something else. Raises CommandError when it is absurdly long."""
    if not isinstance(value, str):
        return ""
    if len(value) > MAX_TEXT:
        raise CommandError(f"a name of {len(value)} characters; at most {MAX_TEXT} are taken")
    return value


def result(transaction: float, *values: object) -> bytes:
    return amf.encode("_result", transaction, *(values or (None, None)))


def error(transaction: float, code: str, description: str) -> bytes:
    return amf.encode("_error", transaction, None, {"level": "error", "code": code, "description": description})


def on_status(level: str, code: str, description: str) -> bytes:
    return amf.encode("onStatus", 0.0, None, {"level": level, "code": code, "description": description})


def connected(command: Command) -> bytes:
    """The answer to connect; what Enhanced RTMP adds goes only to a client that speaks it."""
    encoding = command.object.get("objectEncoding")
    info: dict[str, object] = {
        "level": "status",
        "code": "NetConnection.Connect.Success",
        "description": "Connection succeeded.",
        "objectEncoding": 3.0 if encoding == 3.0 else 0.0,
    }
    properties: dict[str, object] = {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0, "mode": 1.0}
    if any(name in command.object for name in ("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx")):
        offered: dict[str, object] = {
            "fourCcList": [*VIDEO_FOURCC, *AUDIO_FOURCC],
            "videoFourCcInfoMap": dict.fromkeys(VIDEO_FOURCC, FORWARD),
            "audioFourCcInfoMap": dict.fromkeys(AUDIO_FOURCC, FORWARD),
            "capsEx": CAPS_MODEX,
        }
        info |= offered
        properties |= offered
    return amf.encode("_result", command.transaction, properties, info)


def stream_key(app: str, name: str, tc_url: str) -> str:
    """The stream key, wherever the encoder put it; "" when there is none.

    A `key=` in a query wins (of the stream name, then of the application, then of tcUrl); then the last part of the
    stream name; then a query without a name (`?KEY`); then what follows the first part of the application's path.
    """
    sources = (name, app, tc_url)
    for source in sources:
        for pair in source.partition("?")[2].split("&"):
            field, equals, value = pair.partition("=")
            if equals and field == "key" and value:
                return _checked(unquote(value))
    path = name.partition("?")[0].strip("/")
    for prefix in ("mp4:", "flv:"):
        path = path.removeprefix(prefix)
    if path and path.rpartition("/")[2]:
        return _checked(unquote(path.rpartition("/")[2]))
    for source in sources:
        query = source.partition("?")[2]
        if query and "=" not in query:
            return _checked(unquote(query))
    rest = app.partition("?")[0].strip("/").partition("/")[2]
    return _checked(unquote(rest.rpartition("/")[2]))


def _checked(key: str) -> str:
    if len(key) > MAX_KEY:
        raise CommandError(f"a stream key of {len(key)} characters; at most {MAX_KEY} are taken")
    return key.strip()
