"""Traces arrive at a collector (OTLP over HTTP), with what was asked and without what was in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from server.kit.http import install
from server.kit.secrets import Secrets
from server.ops.tracing import Tracing
from server.settings import Settings
from storage.postgres import Database
from tests.server.kit.shop import SECRET, TABLES, Audited, Client, Shop, headers

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Collector:
    """Takes traces as a collector does."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resource: dict[str, str] = {}
        self.headers: dict[str, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        for resource in sent.resource_spans:
            self.resource = said(resource.resource)
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response(body=b"", content_type="application/x-protobuf")

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


def said(thing: Any) -> dict[str, Any]:
    values = {pair.key: pair.value for pair in thing.attributes}
    return {key: value.string_value or value.int_value for key, value in values.items()}


@pytest.fixture
async def collector() -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    server = TestServer(app)
    await server.start_server()
    yield collector, str(server.make_url("/"))
    await server.close()


@pytest.fixture
async def traced(collector: tuple[Collector, str], database_url: str) -> AsyncIterator[tuple[Client, Tracing]]:
    tracing = Tracing(collector[1], headers="authorization=Bearer%20abc, x-team=live", service="sf", node="n1")
    tracing.start()
    database = Database(database_url, max_size=2, on_query=tracing.query)
    await database.start()
    async with database.acquire() as connection:
        await connection.execute(TABLES)
    shop = Shop(database, Audited())
    shop.caller("ada")
    app = web.Application()
    install(
        app,
        [shop.routes()],
        authenticator=shop,
        settings=Settings(),
        secrets=Secrets(database, SECRET),
        database=database,
        audit=shop.audit,
        tracer=tracing,
    )
    async with TestClient(TestServer(app)) as client:
        yield client, tracing
    await tracing.close()
    await database.close()


async def test_a_request_and_its_statements_are_one_trace(
    traced: tuple[Client, Tracing], collector: tuple[Collector, str]
) -> None:
    client, tracing = traced
    given = headers(traceparent=f"00-{TRACE}-{PARENT}-01", X_Request_ID="r-1")
    async with client.post("/api/v1/orders?private=1", json={"title": "my secret"}, headers=given) as answer:
        id = (await answer.json())["id"]
    async with client.get(f"/api/v1/orders/{id}", headers=headers()) as answer:
        assert answer.status == 200
    async with client.post("/api/v1/orders", json={"title": "bug"}, headers=headers()) as answer:
        assert answer.status == 500
    await tracing.close()
    got, _ = collector
    assert (got.resource["service.name"], got.resource["service.instance.id"]) == ("sf", "n1")
    assert (got.headers["authorization"], got.headers["x-team"]) == ("Bearer abc", "live")

    made = got.named("POST /api/v1/orders")[0]
    assert (made.trace_id.hex(), made.parent_span_id.hex()) == (TRACE, PARENT)
    about = said(made)
    assert (about["http.route"], about["http.response.status_code"], about["request.id"]) == (
        "/api/v1/orders",
        201,
        "r-1",
    )
    statements = [span for span in got.spans if span.trace_id == made.trace_id and span != made]
    assert [span.name for span in statements] == ["BEGIN", "INSERT", "COMMIT"]
    for span in statements:
        assert span.parent_span_id == made.span_id
        assert made.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano
    assert said(statements[1])["db.query.text"] == "insert into orders values ($1, $2, $3)"

    shown = got.named("GET /api/v1/orders/{id}")[0]
    assert shown.trace_id != made.trace_id  # the connection is the same; the traces are not
    assert not shown.parent_span_id
    failed = got.named("POST /api/v1/orders")[1]
    assert (failed.status.code, made.status.code) == (2, 0)
    everything = repr(got.spans)
    assert "my secret" not in everything
    assert id not in everything
    assert "private" not in everything


async def test_a_caller_who_does_not_sample_is_heard(
    traced: tuple[Client, Tracing], collector: tuple[Collector, str]
) -> None:
    client, tracing = traced
    async with client.get("/api/v1/orders", headers=headers(traceparent=f"00-{TRACE}-{PARENT}-00")) as answer:
        assert answer.status == 200
    async with client.get("/api/v1/orders", headers=headers(traceparent="nonsense")) as answer:
        assert answer.status == 200
    await tracing.close()
    assert [span.trace_id.hex() != TRACE for span in collector[0].named("GET /api/v1/orders")] == [True]


async def test_a_collector_that_is_away_harms_nobody(database: Database) -> None:
    tracing = Tracing("http://127.0.0.1:9", service="sf", node="n1")
    tracing.start()
    app = web.Application()
    shop = Shop(database, Audited())
    shop.caller("ada")
    secrets = Secrets(database, SECRET)
    install(
        app,
        [shop.routes()],
        authenticator=shop,
        settings=Settings(),
        secrets=secrets,
        database=database,
        audit=shop.audit,
        tracer=tracing,
    )
    async with TestClient(TestServer(app)) as client, client.get("/api/v1/orders", headers=headers()) as answer:
        assert answer.status == 200
    await tracing.close()
    await tracing.close()
