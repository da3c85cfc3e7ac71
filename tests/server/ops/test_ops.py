"""Health and figures, as an operator's tools see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from server.kit.auth import Caller
from server.kit.http import Access, Call, Routes, install
from server.kit.problems import Unauthorized
from server.ops.delay import LoopDelay
from server.ops.health import Health
from server.ops.metrics import Histogram, Metrics
from server.ops.routes import is_private, routes
from server.settings import Settings

Client = TestClient[web.Request, web.Application]


class Nobody:
    async def authenticate(self, token: str) -> Caller:
        raise Unauthorized


@asynccontextmanager
async def serve(health: Health, metrics: Metrics, **settings: Any) -> AsyncIterator[Client]:
    given = Settings(**settings)
    other = Routes("other")

    @other.get("/api/v1/echo/{text}", access=Access.OPEN)
    async def echo(call: Call, text: str) -> dict[str, str]:
        return {"text": text}

    app = web.Application()
    install(app, [routes(health, metrics, given), other], authenticator=Nobody(), settings=given, observer=metrics)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
def health() -> Health:
    health = Health()
    health.started = True
    return health


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def samples(text: str) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, in the order of the labels' names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_requests_are_counted_by_route_and_status(health: Health, metrics: Metrics) -> None:
    async with serve(health, metrics) as client:
        for text in ("a", "b", "c"):
            await client.get(f"/api/v1/echo/{text}")
        await client.get("/nowhere/at/all")
        await client.post("/api/v1/echo/a")
        answer = await client.get("/metrics")
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        found = samples(await answer.text())
    assert found["http_request_duration_seconds_count", "GET", "/api/v1/echo/{text}", "200"] == 3
    assert found["http_request_duration_seconds_bucket", "+Inf", "GET", "/api/v1/echo/{text}", "200"] == 3
    assert found["http_request_duration_seconds_count", "GET", "unknown", "404"] == 1
    assert not [key for key in found if "nowhere" in str(key)]
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 1_000_000
    assert found["process_open_fds",] > 0


def test_other_parts_register_figures(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    metrics.gauge("broadcasts", "Live now", lambda: 3)
    metrics.gauge("viewers", "By kind", lambda: {"hls": 2.0, "socket": 1.0}, label="by")
    metrics.counter("segments", "Closed", lambda: 7)
    metrics.gauge("broken", "Raises", lambda: 1 / 0)
    metrics.histogram("wait_seconds", "Waits", (0.1, 1.0)).observe(0.5)
    body, _ = metrics.render()
    found = samples(body.decode())
    assert found["broadcasts",] == 3
    assert found["viewers", "hls"] == 2
    assert found["segments_total",] == 7
    assert found["wait_seconds_bucket", "0.1"] == 0
    assert found["wait_seconds_bucket", "1.0"] == 1
    assert "broken" in caplog.text


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    assert histogram.cumulated() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert histogram.total == 8.0


async def test_the_token_guards_the_figures(health: Health, metrics: Metrics) -> None:
    async with serve(health, metrics, metrics_token="let me in") as client:
        for path in ("/metrics", "/health/detailed"):
            for headers, status in (
                ({}, 401),
                ({"Authorization": "Bearer wrong"}, 401),
                ({"Authorization": "Bearer ä"}, 401),
                ({"Authorization": "Bearer let me in"}, 200),
            ):
                assert (await client.get(path, headers=headers)).status == status


async def test_without_a_token_strangers_get_no_figures(health: Health, metrics: Metrics) -> None:
    async with serve(health, metrics, trusted_proxies="127.0.0.1") as client:
        for address, status in (("192.168.1.5", 200), ("8.8.8.8", 403), ("2a00::1", 403)):
            for path in ("/metrics", "/health/detailed"):
                assert (await client.get(path, headers={"X-Forwarded-For": address})).status == status, address
    async with serve(health, metrics) as client:  # a proxy that nobody told us of: its address says nothing
        for header in ("X-Forwarded-For", "X-Real-IP"):
            assert (await client.get("/metrics", headers={header: "8.8.8.8"})).status == 403
        assert (await client.get("/metrics")).status == 200


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("192.168.0.1", True),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("", True),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2a00::1", False),
        ("0.0.0.0", False),
        ("nonsense", False),
    ],
)
def test_private_addresses(address: str, private: bool) -> None:
    assert is_private(address) is private


async def test_health(health: Health, metrics: Metrics) -> None:
    well = True

    async def database() -> str | None:
        return None if well else "no connection"

    async def disk() -> str | None:
        return "only 1 MB free: no new recordings"

    health.add("database", database)
    async with serve(health, metrics) as client:
        answer = await client.get("/health/ready")
        body = await answer.json()
        assert (answer.status, body["status"]) == (200, "ok")
        assert body["parts"]["database"]["ok"] is True
        health.add("disk", disk, needed=False)
        health._last = None
        body = await (await client.get("/health")).json()
        assert body["status"] == "degraded"
        assert body["parts"]["disk"]["reason"] == "only 1 MB free: no new recordings"
        well = False
        health._last = None
        answer = await client.get("/health/ready")
        body = await answer.json()
        assert (answer.status, body["code"]) == (503, "not_ready")
        assert body["detail"] == "database: no connection; disk: only 1 MB free: no new recordings"
        assert (await client.get("/health/live")).status == 200


async def test_health_at_start_and_stop(metrics: Metrics) -> None:
    health = Health()
    async with serve(health, metrics) as client:
        assert (await client.get("/health/live")).status == 200
        assert (await client.get("/health/startup")).status == 503
        assert (await client.get("/health/ready")).status == 503
        health.started = True
        assert (await client.get("/health/startup")).status == 200
        assert (await client.get("/health/ready")).status == 200
        health.stopping = True
        assert (await client.get("/health/ready")).status == 503
        assert (await client.get("/health/live")).status == 200


async def test_a_check_that_raises_is_words_for_strangers_and_one_line_in_the_log(
    health: Health, metrics: Metrics, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> str | None:
        raise ConnectionRefusedError("postgresql://user:secret@db.internal\nrefused")

    health.add("database", check)
    async with serve(health, metrics) as client:
        text = await (await client.get("/health/ready")).text()
        assert "the database cannot be used" in text
        assert "ConnectionRefusedError" not in text
        assert "secret" not in text
        monkeypatch.setattr("server.ops.health._KEPT", -1.0)  # every asker makes a round of checks
        assert (await client.get("/health/ready")).status == 503
    said = [record for record in caplog.records if record.name == "server.ops.health"]
    assert len(said) == 1, "said when it changes, not whenever somebody asks"
    assert "db.internal refused" in said[0].getMessage()
    assert said[0].exc_info is None


async def test_a_check_that_hangs(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.ops.health._CHECK_TIMEOUT", 0.02)

    async def check() -> str | None:
        await asyncio.Event().wait()
        return None

    health.add("store", check)
    report = await health.report()
    assert report.status == "failing"
    assert report.parts["store"].reason == "no answer within 0.02 s"


async def test_many_askers_cost_one_round_of_checks(health: Health) -> None:
    asked = 0

    async def check() -> str | None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return None

    health.add("database", check)
    await asyncio.gather(*(health.report() for _ in range(100)))
    assert asked == 1


async def test_details(health: Health, metrics: Metrics) -> None:
    def broken() -> dict[str, object]:
        raise RuntimeError("x")

    health.detail("spool", lambda: {"pending": 3})
    health.detail("broken", broken)
    async with serve(health, metrics) as client:
        body = await (await client.get("/health/detailed")).json()
    assert body["details"] == {"spool": {"pending": 3}, "broken": {"error": "RuntimeError: x"}}


async def test_a_loop_that_is_held_is_seen(metrics: Metrics) -> None:
    delay = LoopDelay(metrics, interval=0.01)
    await delay.start()
    await asyncio.sleep(0)
    while delay.worst < 0.03:
        until = time.perf_counter() + 0.05
        while time.perf_counter() < until:  # what nobody should do
            pass
        await asyncio.sleep(0.001)
    await delay.close()
    body, _ = metrics.render()
    found = samples(body.decode())
    assert found["event_loop_delay_max_seconds",] >= 0.03
    assert found["event_loop_delay_seconds_count",] >= 1
