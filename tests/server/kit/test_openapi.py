"""The document says what the routes do."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from server.kit.http import Access, Call, Routes
from server.kit.http.openapi import document, problems_of
from tests.server.kit.feature import Client, ThingBody, routes


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
            assert set(refused["headers"]) == {*told, "Retry-After"}
            assert "too_many_requests" in refused["content"]["application/problem+json"]["examples"]
    assert set(openapi["components"]["headers"]) == {*told, "Retry-After"}


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
