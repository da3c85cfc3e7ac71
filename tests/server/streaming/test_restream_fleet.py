"""Targets of a fleet: the node that has the broadcast pushes, whichever is asked; another one takes over from it."""

from __future__ import annotations

import pytest

from media.ingest.rtmp import RtmpServer
from tests.conftest import S3
from tests.media.ingest.conftest import OpenGate
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_fleet import on, second, through
from tests.server.streaming.test_live import is_state
from tests.server.streaming.test_restream import KEY, TARGETS, gate, make, port, push_of, target, until_push
from tests.support import eventually

__all__ = ["gate", "port", "second", "target"]  # fixtures
pytestmark = pytest.mark.timeout(300)  # two servers, one of which starts again


@pytest.fixture
def environment(environment: dict[str, str], redis_url: str, s3: S3, port: int) -> dict[str, str]:
    return environment | {
        "REDIS_URL": redis_url,
        "S3_ENDPOINT": s3.endpoint,
        "S3_BUCKET": s3.bucket,
        "S3_REGION": s3.region,
        "S3_ACCESS_KEY": s3.access_key,
        "S3_SECRET_KEY": s3.secret_key,
        "LEASE_SECONDS": "3",
        "NODE_ID": "a",
        "OUTGOING_ALLOWED": f"127.0.0.1:{port}",
        "RESTREAM_PAUSE": "0.5",
    }


async def test_the_node_that_takes_over_pushes_on_and_the_other_does_not(
    server: ServerProcess, second: ServerProcess, streamer: User, target: RtmpServer, gate: OpenGate, port: int
) -> None:
    other = through(streamer, second)
    made = await make(streamer, port)
    started = await streamer.start()
    path = f"{TARGETS}/{made['id']}"
    await streamer.push(started["ingest"]["rtmp"])
    await eventually(lambda: gate.publishers and gate.publishers[0].of(1))
    await until_push(other, made["id"], state="pushing")  # b knows it from a's notes
    await server.stop()
    await eventually(lambda: gate.publishers[0].closed)

    await other.push(on(second, started["ingest"]["rtmp"]))
    await eventually(lambda: len(gate.publishers) == 2 and gate.publishers[1].of(1))
    await until_push(other, made["id"], state="pushing", broadcast_id=started["id"])
    # the first one lives again: it looks on
    await server.start()
    assert (await streamer.show(started["id"]))["state"] == "live"
    await until_push(streamer, made["id"], state="pushing", broadcast_id=started["id"])

    # what is asked of a is done by b
    await streamer.call("POST", f"{path}/stop", {})
    await eventually(lambda: gate.publishers[1].closed)
    await until_push(streamer, made["id"], state="stopped")
    await streamer.call("POST", f"{path}/start", {})
    await eventually(lambda: len(gate.publishers) == 3 and gate.publishers[2].of(1))
    before = len(gate.publishers[2].of(1))
    await eventually(lambda: len(gate.publishers[2].of(1)) > before + 30)
    # never twice at once, and always with the key that only the database knows
    assert len(gate.publishers) == 3
    assert [p.closed is None for p in gate.publishers] == [False, False, True]
    assert {p.request.key for p in gate.publishers if p.request is not None} == {KEY}
    assert (await push_of(other, made["id"])())["error"] == ""

    await streamer.call("POST", "/api/v1/live/end", {"stream_id": started["id"]})
    await eventually(lambda: gate.publishers[2].closed)
    await other.until(started["id"], is_state("ended"))
    await until_push(streamer, made["id"], state="stopped")
