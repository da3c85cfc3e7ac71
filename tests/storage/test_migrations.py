"""Migrations: forward, back, changed files refused, two at once, nothing half done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from storage.postgres import MigrationError, migrate
from storage.postgres.migrations import migrate_back

ONE = "CREATE TABLE one (id int);\n-- back\nDROP TABLE one;\n"
TWO = "ALTER TABLE one ADD COLUMN name text;\nCREATE TABLE two (id int);\n-- back\nDROP TABLE two;\nALTER TABLE one DROP COLUMN name;\n"  # noqa: E501


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "changes"
    made.mkdir()
    (made / "0001_area_one.sql").write_text(ONE)
    (made / "0002_area_two.sql").write_text(TWO)
    return made


async def _tables(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [row[0] for row in rows]
    finally:
        await connection.close()


async def test_forward_once(empty_database_url: str, folder: Path) -> None:
    assert await migrate(empty_database_url, folder) == ["0001_area_one", "0002_area_two"]
    assert await _tables(empty_database_url) == ["one", "schema_migrations", "two"]
    assert await migrate(empty_database_url, folder) == []
    (folder / "0003_area_three.sql").write_text("CREATE TABLE three (id int);")
    assert await migrate(empty_database_url, folder) == ["0003_area_three"]


async def test_back_and_forward_again(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder)
    assert await migrate_back(empty_database_url, folder, "0001_area_one") == ["0002_area_two"]
    assert await _tables(empty_database_url) == ["one", "schema_migrations"]
    assert await migrate_back(empty_database_url, folder) == ["0001_area_one"]
    assert await _tables(empty_database_url) == ["schema_migrations"]
    assert len(await migrate(empty_database_url, folder)) == 2


async def test_no_way_back(empty_database_url: str, folder: Path) -> None:
    (folder / "0003_area_three.sql").write_text("CREATE TABLE three (id int);")
    await migrate(empty_database_url, folder)
    with pytest.raises(MigrationError, match="0003_area_three has no way back"):
        await migrate_back(empty_database_url, folder)


async def test_a_changed_file_is_refused(empty_database_url: str, folder: Path) -> None:
    await migrate(empty_database_url, folder)
    # The way back, and blanks at the ends of lines, may be put right.
    (folder / "0001_area_one.sql").write_text(ONE.replace("DROP TABLE one", "DROP TABLE IF EXISTS one") + "  \n")
    assert await migrate(empty_database_url, folder) == []
    (folder / "0001_area_one.sql").write_text(ONE.replace("id int", "id bigint"))
    with pytest.raises(MigrationError, match=r"0001_area_one\.sql was changed after it was applied"):
        await migrate(empty_database_url, folder)


async def test_two_at_once(empty_database_url: str, folder: Path) -> None:
    outcomes = await asyncio.gather(*(migrate(empty_database_url, folder) for _ in range(4)))
    assert sorted(map(len, outcomes)) == [0, 0, 0, 2]


async def test_one_that_fails_leaves_nothing_of_it(empty_database_url: str, folder: Path) -> None:
    (folder / "0003_area_bad.sql").write_text("CREATE TABLE three (id int); SELECT nonsense;")
    with pytest.raises(MigrationError, match="0003_area_bad failed"):
        await migrate(empty_database_url, folder)
    assert "three" not in await _tables(empty_database_url)
    (folder / "0003_area_bad.sql").write_text("CREATE TABLE three (id int);")
    assert await migrate(empty_database_url, folder) == ["0003_area_bad"]


async def test_a_newer_release_was_here(
    empty_database_url: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "0003_area_new.sql").write_text("CREATE TABLE three (id int);")
    await migrate(empty_database_url, folder)
    (folder / "0003_area_new.sql").unlink()
    assert await migrate(empty_database_url, folder) == []
    assert "0003_area_new" in caplog.text


async def test_names_are_checked(empty_database_url: str, folder: Path) -> None:
    (folder / "3_wrong.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="NNNN_area_what"):
        await migrate(empty_database_url, folder)
    with pytest.raises(MigrationError, match="no folder"):
        await migrate(empty_database_url, folder / "none")


async def test_our_own_go_forward_back_and_forward(empty_database_url: str, storage_migrations: Path) -> None:
    await migrate(empty_database_url, storage_migrations)
    before = await _tables(empty_database_url)
    await migrate_back(empty_database_url, storage_migrations)
    assert await _tables(empty_database_url) == ["schema_migrations"]
    await migrate(empty_database_url, storage_migrations)
    assert await _tables(empty_database_url) == before


async def test_the_queues_tables_fit_the_installed_pgqueuer(empty_database_url: str, storage_migrations: Path) -> None:
    """PgQueuer itself finds nothing to change: after an upgrade of the package this says which migration is missing."""
    from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver  # noqa: PLC0415
    from pgqueuer.queries import Queries  # noqa: PLC0415

    await migrate(empty_database_url, storage_migrations)
    connection = await asyncpg.connect(empty_database_url)
    plan = await Queries(AsyncpgDriver(connection)).plan_upgrade()
    await connection.close()
    assert (plan.statements, plan.notes) == ((), ())
