"""Traces for OpenTelemetry: a span for each declared route and each SQL statement in it, sent by OTLP over HTTP.

Tracing owns the exporter and its thread from `start` to `close`; the loop only puts finished spans into a bounded
queue, and what does not fit is dropped. Spans hold templates (of routes, of SQL), never values: no path, no query, no
parameters, no addresses, no account.
"""

from __future__ import annotations

import asyncio
import time
from contextvars import Token
from urllib.parse import unquote

from aiohttp import web
from asyncpg.connection import LoggedQuery
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_SQL_LIMIT = 2000
_SEND_SECONDS = 5
_CLOSE_MS = 3000


class Tracing:
    def __init__(self, endpoint: str, *, headers: str = "", service: str, node: str, share: float = 1.0) -> None:
        """endpoint: of the collector, without /v1/traces. headers: name=value,name=value. share: 0 to 1."""
        self._url = endpoint.rstrip("/") + "/v1/traces"
        self._headers = _headers(headers)
        self._about = Resource({"service.name": service, "service.instance.id": node})
        self._sampler = ParentBased(TraceIdRatioBased(min(max(share, 0.0), 1.0)))
        self._propagator = TraceContextTextMapPropagator()
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()

    def start(self) -> None:
        exporter = OTLPSpanExporter(self._url, headers=self._headers, timeout=_SEND_SECONDS)
        self._provider = TracerProvider(sampler=self._sampler, resource=self._about, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("social-flow")

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        provider, self._provider = self._provider, None
        if provider is not None:
            await asyncio.to_thread(provider.force_flush, _CLOSE_MS)
            await asyncio.to_thread(provider.shutdown)

    def begin(self, request: web.Request, route: str, request_id: str) -> RequestSpan:
        """A span from the caller's `traceparent` on (W3C Trace Context), current in this task until it ends."""
        span = self._tracer.start_span(
            f"{request.method} {route}",
            self._propagator.extract(request.headers, context.Context()),
            SpanKind.SERVER,
            {
                "http.request.method": request.method,
                "http.route": route,
                "url.scheme": request.scheme,
                "request.id": request_id,
            },
        )
        return RequestSpan(span, context.attach(trace.set_span_in_context(span)))

    def query(self, done: LoggedQuery) -> None:
        """A statement that has been run, as a span inside the current one. Those of nobody's request are left out."""
        if not trace.get_current_span().get_span_context().trace_flags.sampled:
            return
        text = " ".join(done.query.split())[:_SQL_LIMIT]
        verb = text.partition(" ")[0].rstrip(";").upper()
        ended = time.time_ns()
        span = self._tracer.start_span(
            verb or "SQL",
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "postgresql", "db.operation.name": verb, "db.query.text": text},
            start_time=ended - int(done.elapsed * 1e9),
        )
        if done.exception is not None:  # by its class: its text has values
            span.set_attribute("error.type", type(done.exception).__name__)
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def describe(self) -> dict[str, object]:
        return {"on": self._provider is not None}


class RequestSpan:
    """The span of one request; dies with its answer."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span, token: Token[context.Context]) -> None:
        self._span = span
        self._token = token

    def end(self, status: int) -> None:
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
        context.detach(self._token)


def _headers(text: str) -> dict[str, str]:
    """As in OTEL_EXPORTER_OTLP_HEADERS: name=value pairs, values percent-encoded."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip().lower(): unquote(value.strip()) for name, _, value in pairs}
