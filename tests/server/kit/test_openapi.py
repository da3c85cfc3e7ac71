"""The document says what the routes do."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from server.kit.http import Access, Call, Routes
from server.kit.http.openapi import document, problems_of
from storage.postgres import Database
from tests.server.kit.feature import Client, ThingBody, routes
from tests.server.kit.shop import Audited, Shop


@pytest.fixture
def openapi() -> dict[str, Any]:
    return document([routes()], title="Test", version="1")


async def test_the_document_is_valid(client: Client) -> None:
    answer = await client.get("/openapi.json")
    assert (answer.status, answer.content_type) == (200, "application/json")
    OpenAPIV31SpecValidator(await answer.json()).validate()
    again = await client.get("/openapi.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status == 304


def test_every_declared_and_implied_error_appears(openapi: dict[str, Any]) -> None:
    declared = routes().routes
    assert len(declared) == sum(len(path) for path in openapi["paths"].values())
    for route in declared:
        responses = openapi["paths"][route.path][route.method.lower()]["responses"]
        for problem in problems_of(route):
            examples = responses[str(problem.status)]["content"]["application/problem+json"]["examples"]
            assert examples[problem.code]["value"]["title"] == problem.title
        assert str(route.status) in responses


def test_what_an_operation_says(openapi: dict[str, Any]) -> None:
    make = openapi["paths"]["/api/v1/things"]["post"]
    assert (make["summary"], make["tags"], make["operationId"]) == ("Make a thing", ["things"], "post_things")
    assert make["security"] == [{"bearer": []}, {"apiKey": ["things:write"]}]
    assert make["x-scopes"] == ["things:write"]
    content = make["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ThingBody"}
    assert content["example"]["title"] == "a thing"
    assert {"400", "401", "409", "413", "415", "418", "422", "500", "503"} <= set(make["responses"])
    assert all("503" in about["responses"] for path in openapi["paths"].values() for about in path.values())
    thing = openapi["components"]["schemas"]["ThingBody"]
    assert thing["properties"]["title"]["maxLength"] == 10
    listing = openapi["paths"]["/api/v1/things"]["get"]
    parameters = {parameter["name"]: parameter for parameter in listing["parameters"]}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert set(parameters) == {"limit", "cursor", "text", "exact", "before"}
    assert listing["security"] == [{}, {"bearer": []}, {"apiKey": ["things:read"]}]
    show = openapi["paths"]["/api/v1/things/{id}"]["get"]
    assert show["parameters"][0]["schema"] == {"type": "string", "format": "uuid"}
    assert {"304", "404"} <= set(show["responses"])
    clear = openapi["paths"]["/api/v1/things"]["delete"]
    assert "content" not in clear["responses"]["204"]
    assert clear["x-permission"] == "things.clear"
    assert "`things.clear`" in clear["description"]


def test_limits_are_told_of_every_route(openapi: dict[str, Any]) -> None:
    told = {name: {"$ref": f"#/components/headers/{name}"} for name in ("RateLimit", "RateLimit-Policy")}
    for path, about in openapi["paths"].items():
        for method, operation in about.items():
            assert operation["x-limits"] == ("read" if method == "get" else "write"), path
            success = next(answer for status, answer in operation["responses"].items() if status < "300")
            assert success["headers"].items() >= told.items()
            refused = operation["responses"]["429"]
            assert set(refused["headers"]) == {*told, "Retry-After", "X-Request-ID"}
            assert "too_many_requests" in refused["content"]["application/problem+json"]["examples"]
    assert set(openapi["components"]["headers"]) >= {*told, "Retry-After"}


def test_a_route_without_limits_says_so() -> None:
    api = Routes("things")

    @api.get("/x", access=Access.OPEN, limits="none")
    async def x(call: Call) -> None: ...

    operation = document([api], title="x", version="1")["paths"]["/x"]["get"]
    assert operation["x-limits"] == "none"
    assert "429" not in operation["responses"]
    assert set(operation["responses"]["204"]["headers"]) == {"X-Request-ID"}


def test_the_routes_are_where_the_document_was_read(openapi: dict[str, Any]) -> None:
    """So that what /docs sends reaches this server by whatever address somebody opened it."""
    assert openapi["servers"] == [{"url": "/"}]


async def test_answers_fit_their_schema(client: Client, openapi: dict[str, Any]) -> None:
    body = await (await client.get("/api/v1/things?limit=1")).json()
    schema = openapi["paths"]["/api/v1/things"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    page = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert set(page["properties"]) == set(body)
    item = openapi["components"]["schemas"][page["properties"]["items"]["items"]["$ref"].rpartition("/")[2]]
    assert set(item["properties"]) == set(body["items"][0])


async def test_the_type_of_a_problem_leads_somewhere(client: Client) -> None:
    text = await (await client.get("/problems/taken")).text()
    assert "It is taken" in text
    assert "Somebody was quicker." in text
    assert (await client.get("/problems/unknown")).status == 404


def test_declarations_that_cannot_be() -> None:
    api = Routes("x")

    async def no_result(call: Call):  # type: ignore[no-untyped-def]
        pass

    async def no_parameter(call: Call) -> None:
        pass

    async def wrong_kind(call: Call, id: float) -> None:
        pass

    async def no_struct(call: Call, body: dict[str, str]) -> None:
        pass

    async def good(call: Call, body: ThingBody) -> None:
        pass

    for handler, path in (
        (no_result, "/a"),
        (no_parameter, "/a/{id}"),
        (wrong_kind, "/a/{id}"),
        (no_struct, "/a"),
    ):
        with pytest.raises(TypeError):
            api.post(path, access=Access.ANYONE)(handler)
    api.post("/a", access=Access.ANYONE)(good)
    api.post("/a", access=Access.ANYONE)(good)
    with pytest.raises(ValueError, match="declared twice"):
        document([api], title="", version="")


def test_what_a_route_declares_is_told() -> None:
    shop = document([Shop(Database("", max_size=1), Audited()).routes()], title="", version="")
    OpenAPIV31SpecValidator(shop).validate()
    make = shop["paths"]["/api/v1/orders"]["post"]
    assert [(one["name"], one["in"]) for one in make["parameters"]] == [("Idempotency-Key", "header")]
    assert "Idempotency-Replayed" in make["responses"]["201"]["headers"]
    assert set(make["responses"]["422"]["content"]["application/problem+json"]["examples"]) == {
        "invalid_request",
        "idempotency_key_reused",
    }
    assert {"400", "409"} <= set(make["responses"])
    edit = shop["paths"]["/api/v1/orders/{id}"]["put"]
    assert edit["parameters"][-1]["required"]
    assert {"412", "428"} <= set(edit["responses"])
    assert "ETag" in edit["responses"]["200"]["headers"]
    sensitive = shop["paths"]["/api/v1/sensitive"]["post"]
    assert sensitive["security"] == [{"bearer": []}]  # no key can have shown a password
    assert (sensitive["x-step-up"], sensitive["x-scopes"]) == (True, [])
    assert "step_up_required" in sensitive["responses"]["403"]["content"]["application/problem+json"]["examples"]
    assert shop["components"]["securitySchemes"]["apiKey"]["x-scopes"] == ["shop:read", "shop:write"]
    assert "`orders.cancelled`" in shop["paths"]["/api/v1/orders/all/cancel"]["post"]["description"]


class Part(msgspec.Struct):
    at: datetime
    size: int | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET


class Short(msgspec.Struct, omit_defaults=True):
    size: int = 0


class Both(msgspec.Struct, forbid_unknown_fields=True):
    title: str = ""


class Whole(msgspec.Struct):
    parts: dict[str, list[Part]]
    short: Short
    both: Both


def test_schemas_are_exact() -> None:
    api = Routes("x")

    @api.post("/a", access=Access.USER)
    async def a(call: Call, body: Both) -> Whole:
        raise NotImplementedError

    made = document([api], title="", version="")
    schemas = made["components"]["schemas"]
    # an answer has what its type has, but for what may be unset or is left out while it has its default
    assert schemas["Part"]["required"] == ["at", "size"]
    assert schemas["Part"]["properties"]["at"] == {"type": "string", "format": "date-time"}
    assert schemas["Part"]["properties"]["size"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert schemas["Short"]["required"] == []
    # what is sent may leave out what has a default, and may have nothing else
    assert schemas["Both"] == {
        "title": "Both",
        "type": "object",
        "properties": {"title": {"type": "string", "default": ""}},
        "required": [],
        "additionalProperties": False,
    }
    operation = made["paths"]["/a"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"title": "A walk in the mountains"}
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert msgspec.convert(example, Whole).parts["name"][0].size == 1
    jsonschema.Draft202012Validator({"$ref": "#/components/schemas/Whole", **made}).validate(example)
