"""Fixtures of the storage part: they need no other part's tables."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from storage.postgres import Database, migrate
from tests.servers.postgres import MIGRATIONS


@pytest.fixture
def storage_migrations(tmp_path: Path) -> Path:
    """A folder with the storage part's migrations alone."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in MIGRATIONS.glob("*_storage_*.sql"):
        shutil.copy(path, folder)
    return folder


@pytest.fixture
async def queue_url(empty_database_url: str, storage_migrations: Path) -> str:
    """A database with the tables of the job queue."""
    await migrate(empty_database_url, storage_migrations)
    return empty_database_url


@pytest.fixture
async def queue(queue_url: str) -> AsyncIterator[Database]:
    database = Database(queue_url, max_size=4)
    await database.start()
    yield database
    await database.close()
