from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.server.identity.privacy.place import Place, place


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncIterator[Place]:
    async with place(tmp_path, database_url, follows_most="free=3", deletion_grace_days=7) as started:
        yield started
