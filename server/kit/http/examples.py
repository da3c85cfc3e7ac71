"""Example values for the document, made from the declared types: of the right shape, and with words people know."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

ID = "019a1b2c-3d4e-7f50-8a6b-7c8d9e0f1a2b"
MOMENT = "2026-01-31T12:00:00Z"
_TEXTS = {
    "access_token": "eyJhbGciOiJFZERTQSJ9.…",
    "address": "192.0.2.1",
    "bio": "I make films about mountains.",
    "code": "123456",
    "description": "What happens, and for whom.",
    "device": "Firefox on Linux",
    "display_name": "Ada",
    "email": "ada@example.org",
    "epoch": ID,
    "kind": "video",
    "locale": "en",
    "name": "studio",
    "new_email": "ada.l@example.org",
    "new_password": "a better horse battery",
    "next_cursor": "sP1q0cXJ2o5mXb7LkZ0aWyIyMDI2LTAxLTMxIl0",
    "nonce": "5f0c9a1b",
    "password": "correct horse battery",
    "refresh_token": "rt_2Xy4…",
    "rtmp": "rtmp://localhost:1935/live",
    "scope": "live:read",
    "state": "live",
    "status": "ok",
    "stream_key": "sf_ab3d…",
    "text": "Hello!",
    "timezone": "Europe/Berlin",
    "title": "A walk in the mountains",
    "token_type": "Bearer",
    "user_agent": "Mozilla/5.0",
    "username": "ada",
    "visibility": "public",
}
_DEPTH = 8


def example_of(kind: Any) -> Any:
    """A value of builtin types that the type takes; UNSET when none can be made."""
    try:
        value = _value(inspect.type_info(kind), "", 0)
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, TypeError, RecursionError):
        return msgspec.UNSET
    return value


def _value(kind: inspect.Type, name: str, depth: int) -> Any:
    match kind:
        case inspect.Metadata(type=inner):
            return _value(inner, name, depth)
        case inspect.StructType(fields=fields, tag_field=tag_field, tag=tag):
            if depth > _DEPTH:
                raise RecursionError
            given: dict[str, Any] = {} if tag_field is None else {tag_field: tag}
            return given | {f.encode_name: _value(f.type, f.encode_name, depth + 1) for f in fields}
        case inspect.UnionType(types=kinds):
            # null tells less than the other
            some = [one for one in kinds if not isinstance(one, inspect.NoneType)]
            return _value(some[0], name, depth) if some else None
        case inspect.ListType(item_type=item) | inspect.SetType(item_type=item) | inspect.FrozenSetType(item_type=item):
            return [_value(item, name.removesuffix("s"), depth)]
        case inspect.VarTupleType(item_type=item) | inspect.CollectionType(item_type=item):
            return [_value(item, name.removesuffix("s"), depth)]
        case inspect.TupleType(item_types=items):
            return [_value(item, name, depth) for item in items]
        case inspect.DictType(key_type=key, value_type=value):
            name = _value(key, "name", depth)
            return {"name" if name == _TEXTS["name"] else name: _value(value, "", depth)}
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
    return _scalar(kind, name)


def _scalar(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.StrType(min_length=shortest, max_length=longest):
            text = _TEXTS.get(name) or (f"https://example.org/{name}" if "url" in name else name.replace("_", " "))
            return (text or "text").ljust(shortest or 0, ".")[:longest]
        case inspect.IntType(ge=least, gt=above):
            return max(1, least or 0, (above or 0) + 1)
        case inspect.FloatType(ge=least, gt=above):
            return max(1.5, least or 0.0, (above or 0.0) + 0.5)
        case inspect.BoolType():
            return True
        case inspect.UUIDType():
            return ID
        case inspect.DateTimeType():
            return MOMENT
        case inspect.DateType():
            return MOMENT[:10]
        case inspect.BytesType():
            return "AAEC"
        case inspect.AnyType() | inspect.RawType():
            return "anything"
    return None
