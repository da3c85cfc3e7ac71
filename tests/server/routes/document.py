"""The operations of the document, and what each says of itself."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

METHODS = ("get", "head", "options", "post", "put", "patch", "delete")
NOBODY = "00000000-0000-7000-8000-000000000000"
PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    about: dict[str, Any]
    schemas: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method.upper()} {self.path}"

    @property
    def safe(self) -> bool:
        return self.method in {"get", "head", "options"}

    @property
    def security(self) -> list[dict[str, list[str]]]:
        given: list[dict[str, list[str]]] = self.about["security"]
        return given

    @property
    def open(self) -> bool:
        """No token is looked at."""
        return not self.security

    @property
    def needs_token(self) -> bool:
        return bool(self.security) and {} not in self.security

    @property
    def scopes(self) -> set[str]:
        """API keys with one of them may call."""
        return {scope for way in self.security for scope in way.get("apiKey", ())}

    @property
    def permission(self) -> str | None:
        return self.about.get("x-permission")

    @property
    def step_up(self) -> bool:
        return bool(self.about.get("x-step-up"))

    @property
    def success(self) -> list[int]:
        return [int(status) for status in self.about["responses"] if status[0] in "23" and status != "304"]

    @property
    def in_path(self) -> dict[str, str]:
        """Of each path parameter, what names its kind: the path up to it."""
        return {found[1]: self.path[: found.end()] for found in PARAMETER.finditer(self.path)}

    @property
    def in_body(self) -> set[str]:
        """Members of the body that hold an id."""
        return {name for name, schema in self._members() if "uuid" in str(schema)}

    def _members(self) -> Iterator[tuple[str, Any]]:
        content = self.about.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        yield from schema.get("properties", {}).items()

    def parameters(self, place: str, *, required: bool = False) -> list[dict[str, Any]]:
        """Those in `query` or `header`."""
        given = [one for one in self.about.get("parameters", ()) if one["in"] == place]
        return [one for one in given if one.get("required")] if required else given

    def at(self, value: str) -> str:
        return PARAMETER.sub(lambda _: value, self.path)

    def request(self) -> dict[str, Any]:
        """The body of the document's example, and whatever else is required: arguments of aiohttp's `request`."""
        said: dict[str, Any] = {
            "headers": {one["name"]: "*" for one in self.parameters("header", required=True)},
            "params": {
                one["name"]: "x" * one["schema"].get("minLength", 1) for one in self.parameters("query", required=True)
            },
        }
        for kind, media in self.about.get("requestBody", {}).get("content", {}).items():
            if kind == "application/json":
                said["json"] = dict(media["example"])
            elif kind == "image/png":
                said["data"], said["headers"]["Content-Type"] = _picture(), kind
        return said


def operations_of(document: dict[str, Any]) -> list[Operation]:
    return [
        Operation(method, path, about, document["components"]["schemas"])
        for path, methods in document["paths"].items()
        for method, about in methods.items()
        if method in METHODS
    ]


@cache
def _picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(out, "PNG")
    return out.getvalue()
