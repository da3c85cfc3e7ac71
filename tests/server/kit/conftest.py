"""A small feature with one route of each kind, behind the whole kit, on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.server.kit.feature import Client, Recorder, serve


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def client(recorder: Recorder) -> AsyncIterator[Client]:
    async with serve(observer=recorder) as client:
        yield client
