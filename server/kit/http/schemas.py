"""The schemas of the document: msgspec's, made exact for what is only ever answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import inspect

from server.kit.http.routes import Route, sends_itself
from server.kit.problems import ProblemBody

REFERENCE = "#/components/schemas/{name}"


class Schemas:
    """Of all declared bodies and results: `of[repr(type)]` and the components that they refer to."""

    def __init__(self, routes: Sequence[Route]) -> None:
        asked = {repr(kind): kind for kind in (route.body for route in routes) if kind is not None}
        answered = {repr(ProblemBody): ProblemBody}
        answered |= {
            repr(route.result): route.result
            for route in routes
            if route.result is not None and not sends_itself(route.result)
        }
        given = {repr(struct.cls): struct for struct in _structs(answered.values())}
        taken = {repr(struct.cls): struct for struct in _structs(asked.values())}
        kinds = {**asked, **answered, **{name: struct.cls for name, struct in {**given, **taken}.items()}}
        schemas, self.components = msgspec.json.schema_components(kinds.values(), ref_template=REFERENCE)
        # msgspec tells structs of one name apart by their modules: what is generated for clients would be called so
        if alike := sorted(name for name in self.components if "." in name):
            raise ValueError(f"two structs have one name: {', '.join(alike)}")
        self.of = dict(zip(kinds, schemas, strict=True))
        for name, struct in {**given, **taken}.items():
            if "$ref" in (schema := self.of.get(name, {})):
                properties = self.components[schema["$ref"].rpartition("/")[2]].get("properties", {})
                for field in struct.fields:
                    name_formats(field.type, properties.get(field.encode_name, {}))
        for name, struct in given.items():
            if name not in taken and not _leaves_out(struct):
                self._complete(self.of[name], struct)

    def _complete(self, schema: dict[str, Any], struct: inspect.StructType) -> None:
        """An answer has all its members, also those with a default: that is for those who make it."""
        component = self.components[schema["$ref"].rpartition("/")[2]]
        fields = [field for field in struct.fields if _is_always_there(field)]
        if fields:
            component["required"] = [field.encode_name for field in fields]
        for field in fields:
            component["properties"][field.encode_name].pop("default", None)


def name_formats(kind: inspect.Type, schema: dict[str, Any]) -> None:
    """Times are RFC 3339; msgspec says so only of those that must have an offset."""
    match kind:
        case inspect.Metadata(type=inner):
            name_formats(inner, schema)
        case inspect.DateTimeType():
            schema.setdefault("format", "date-time")
        case inspect.UnionType(types=kinds) if any(isinstance(one, inspect.DateTimeType) for one in kinds):
            if not any(isinstance(one, inspect.StrType) for one in kinds):
                for one in schema.get("anyOf", ()):
                    if one.get("type") == "string":
                        one.setdefault("format", "date-time")
        case inspect.ListType(item_type=item):
            name_formats(item, schema.get("items", {}))
        case inspect.DictType(value_type=value):
            name_formats(value, schema.get("additionalProperties", {}))


def _is_always_there(field: inspect.Field) -> bool:
    """Only what may be unset has neither."""
    nothing = msgspec.NODEFAULT
    return field.required or field.default is not nothing or field.default_factory is not nothing


def _leaves_out(struct: inspect.StructType) -> bool:
    """Whether defaults are left out of what is encoded. A generic struct such as Page[…] is asked by its origin."""
    return bool(getattr(struct.cls, "__origin__", struct.cls).__struct_config__.omit_defaults)


def _structs(kinds: Iterable[Any]) -> Iterator[inspect.StructType]:
    """Every struct that values of these types may hold."""
    waiting: list[Any] = list(inspect.multi_type_info(list(kinds)))
    seen: set[int] = set()
    while waiting:
        kind = waiting.pop()
        if id(kind) in seen:
            continue
        seen.add(id(kind))
        if isinstance(kind, inspect.StructType):
            yield kind
            waiting += [field.type for field in kind.fields]
        for name in ("type", "item_type", "key_type", "value_type"):
            if isinstance(inner := getattr(kind, name, None), inspect.Type):
                waiting.append(inner)
        for name in ("types", "item_types"):
            waiting += [inner for inner in getattr(kind, name, ()) if isinstance(inner, inspect.Type)]
