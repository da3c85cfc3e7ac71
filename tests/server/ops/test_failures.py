"""What nobody foresaw arrives at Sentry, with the request id and without what is anybody's own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from server.ops.failures import Failures, scrubbed
from tests.fakes.sentry import Sentry
from tests.server.kit.feature import serve


@pytest.fixture
async def sentry() -> AsyncIterator[Sentry]:
    async with Sentry().serve() as sentry:
        yield sentry


@pytest.fixture
async def failures(sentry: Sentry) -> AsyncIterator[Failures]:
    failures = Failures(sentry.dsn, environment="tests", node="n1")
    failures.start()
    yield failures
    await failures.stop()


async def test_an_unforeseen_failure_of_a_request(sentry: Sentry, failures: Failures) -> None:
    private = {"X-Request-ID": "r-1", "Authorization": "Bearer ada", "Cookie": "viewer=hidden", "User-Agent": "mine"}
    async with serve() as client:
        async with client.get("/api/v1/fail/bug?email=ada@example.org", headers=private) as answer:
            assert answer.status == 500
        for path in ("/api/v1/fail/database", "/api/v1/things/no-such-id"):  # foreseen
            async with client.get(path) as answer:
                assert answer.status in (404, 503)
    await failures.stop()
    [event] = sentry.events
    assert event["tags"] == {"method": "GET", "route": "/api/v1/fail/{kind}", "request_id": "r-1"}
    assert (event["environment"], event["server_name"], event["level"]) == ("tests", "n1", "error")
    [error] = event["exception"]["values"]
    assert error["type"] == "ZeroDivisionError"
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert all("vars" not in frame and "context_line" not in frame for frame in error["stacktrace"]["frames"])
    for own in (b"ada", b"hidden", b"mine", b"127.0.0.1", b"example.org"):
        assert own not in sentry.raw
    assert failures.describe() == {"sent": 1, "dropped": 0}


async def test_a_failure_beside_any_request(sentry: Sentry, failures: Failures) -> None:
    log = logging.getLogger("somewhere")
    try:
        raise ValueError("no such user: ada@example.org with token sfk_abcdefghijklmnop1234")
    except ValueError:
        log.exception("ada@example.org failed")
    log.error("this has no exception")
    await failures.stop()
    [event] = sentry.events
    assert event["exception"]["values"][0]["value"] == "no such user: … with token …"
    assert event["logger"] == "somewhere"
    assert "request_id" not in event["tags"]
    assert b"ada" not in sentry.raw


async def test_a_storm_is_cut(sentry: Sentry, failures: Failures) -> None:
    for number in range(100):
        logging.getLogger("storm").error("failed", exc_info=ValueError(f"n {number}"))
    assert failures.describe() == {"sent": 60, "dropped": 40}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("division by zero", "division by zero"),
        ("duplicate key\nDETAIL:  Key (name)=(ada lovelace) already exists.", "DETAIL:  Key (name)… already exists."),
        ("'ada'", "…"),
        ("no connection to 192.0.2.7:5432", "no connection to …:…"),
        ("no route to 2001:db8::7", "no route to …"),
        ("bad token eyJhbGciOiJFZERTQSJ9.e30.abc", "bad token …"),
        ("GET https://user:pw@example.org/x?y=1 failed", "GET … failed"),
    ],
)
def test_what_could_be_a_value_is_taken_out(text: str, left: str) -> None:
    assert left in scrubbed(text)
    for own in ("ada", "192.0", "2001", "eyJ", "pw"):
        assert own not in scrubbed(text)
