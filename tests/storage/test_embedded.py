# ruff: noqa: ASYNC221, ASYNC240 -- nobody else uses the loop of these tests
"""The embedded PostgreSQL: made, started again, after a kill, in awkward folders, refused in words."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from storage.embedded import EmbeddedError, EmbeddedPostgres
from storage.embedded.account import Account, hold
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

_CHILD = """
import asyncio, sys
from pathlib import Path
from storage.embedded import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]))
    print(await server.start(), server.describe()["process"], flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A cluster made once, for tests that only need one to begin from."""
    folder = Path(tempfile.mkdtemp(prefix="made-"))
    folder.chmod(0o755)

    async def make() -> None:
        server = EmbeddedPostgres(folder / "postgres")
        await server.start()
        await server.close()

    asyncio.run(make())
    yield folder / "postgres"
    shutil.rmtree(folder)


@pytest.fixture
def folder(made: Path) -> Iterator[Path]:
    """A data folder of this test with that cluster in it."""
    above = Path(tempfile.mkdtemp(prefix="pg-test-"))
    above.chmod(0o755)
    subprocess.run(["cp", "-a", str(made), str(above)], check=True)
    yield above / "postgres"
    shutil.rmtree(above, ignore_errors=True)


async def _ask(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/cmdline").read_bytes() != b"" if Path("/proc/self").exists() else True


async def test_made_used_and_started_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    above = Path(tempfile.mkdtemp())
    server = EmbeddedPostgres(above / "deeper" / "postgres")
    try:
        dsn = await server.start()
        assert await _ask(dsn, "SHOW server_encoding") == "UTF8"
        assert (
            await _ask(dsn, "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'social_flow'")
            == "bC.UTF-8"
        )
        assert (await _ask(dsn, "SHOW fsync"), await _ask(dsn, "SHOW synchronous_commit")) == ("on", "on")
        assert await _ask(dsn, "SHOW listen_addresses") == ""
        assert int(str(await _ask(dsn, "SHOW max_connections"))) >= 100
        await _ask(dsn, "CREATE TABLE kept AS SELECT 1 AS n")
        pid = int(str(server.describe()["process"]))
        run = above / "deeper" / "postgres" / "run"
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        await server.close()
        assert not _running(pid)
        assert await server.start() == dsn
        assert await _ask(dsn, "SELECT n FROM kept") == 1
    finally:
        await server.close()
        shutil.rmtree(above)


async def test_a_second_process_is_refused_in_words(folder: Path) -> None:
    first = EmbeddedPostgres(folder)
    dsn = await first.start()
    with pytest.raises(EmbeddedError, match=rf"in use by process {os.getpid()}.*DATA_DIR"):
        await EmbeddedPostgres(folder).start()
    assert await _ask(dsn, "SELECT 1") == 1  # the first is untouched
    await first.close()


async def test_an_orphan_is_ended_and_nothing_committed_is_lost(folder: Path) -> None:
    """kill -9 of the process that owns the server, with a client's transaction under way."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _CHILD, str(folder)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert child.stdout is not None
    dsn, pid = (await asyncio.wait_for(child.stdout.readline(), 60)).decode().split()
    await _ask(dsn, "CREATE TABLE kept AS SELECT 1 AS n")
    open_transaction = await asyncpg.connect(dsn)
    await open_transaction.execute("BEGIN; INSERT INTO kept VALUES (2)")
    child.send_signal(signal.SIGKILL)
    await child.wait()
    assert _running(int(pid))
    server = EmbeddedPostgres(folder)
    dsn = await server.start()
    assert not _running(int(pid))
    assert server.describe()["process"] != int(pid)
    assert await _ask(dsn, "SELECT array_agg(n) FROM kept") == [1]
    open_transaction.terminate()
    await server.close()


async def test_a_pid_that_another_program_has_now(folder: Path) -> None:
    other = await asyncio.create_subprocess_exec("sleep", "60")
    (folder / "cluster" / "postmaster.pid").write_text(f"{other.pid}\n{folder / 'cluster'}\n1\n5432\n")
    server = EmbeddedPostgres(folder)
    await server.start()
    assert other.returncode is None
    await server.close()
    other.kill()
    await other.wait()


async def test_a_server_that_dies_is_started_again(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    dsn = await server.start()
    os.kill(int(str(server.describe()["process"])), signal.SIGKILL)
    await eventually(lambda: server.describe()["restarts"] == 1, within=60)

    async def answers() -> bool:
        try:
            return await _ask(dsn, "SELECT 1") == 1
        except (OSError, asyncpg.PostgresError):
            return False

    await eventually(answers, within=60)
    await server.close()


@pytest.mark.parametrize("name", ["x" * 120, "a,b c'd"])
async def test_a_path_no_socket_can_have(made: Path, name: str) -> None:
    above = Path(tempfile.mkdtemp())
    folder = above / name / "postgres"
    folder.parent.mkdir()
    above.chmod(0o755)
    shutil.copytree(made, folder, copy_function=shutil.copy2)
    subprocess.run(["cp", "-a", str(made / "cluster"), str(folder.parent)], check=True)
    shutil.rmtree(folder / "cluster")
    (folder.parent / "cluster").rename(folder / "cluster")
    server = EmbeddedPostgres(folder)
    dsn = await server.start()
    assert await _ask(dsn, "SELECT 1") == 1
    elsewhere = Path(os.readlink(folder / "run"))
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    await server.close()
    assert not elsewhere.exists()
    shutil.rmtree(above)


@AS_ROOT
async def test_as_root_it_runs_as_somebody_else(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    assert Path(f"/proc/{server.describe()['process']}").stat().st_uid != 0
    await server.close()


@AS_ROOT
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
async def test_as_root_under_a_private_folder(made: Path) -> None:
    """A project in a 0700 home: the server may pass through, and only that."""
    above = Path(tempfile.mkdtemp())
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
    subprocess.run(["cp", "-a", str(made), str(above)], check=True)
    server = EmbeddedPostgres(above / "postgres")
    dsn = await server.start()
    status = Path(f"/proc/{server.describe()['process']}/status").read_text()
    capabilities = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Cap"))
    assert int(capabilities["CapEff"], 16) == 1 << 2  # dac_read_search
    assert int(capabilities["CapBnd"], 16) == 1 << 2
    assert await _ask(dsn, "SELECT 1") == 1
    await server.close()
    shutil.rmtree(above)


@AS_ROOT
async def test_as_root_without_setpriv_it_says_what_to_do(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    above = Path(tempfile.mkdtemp())
    monkeypatch.setattr("storage.embedded.account.shutil.which", lambda name: None)
    with pytest.raises(EmbeddedError, match=rf"chmod o\+x {above}"):
        await EmbeddedPostgres(above / "postgres").start()
    shutil.rmtree(above)


async def test_damaged_files_are_said_in_words(folder: Path) -> None:
    (folder / "cluster" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(EmbeddedError, match="damaged"):
        await EmbeddedPostgres(folder).start()
    (folder / "cluster" / "PG_VERSION").write_text("nonsense")
    with pytest.raises(EmbeddedError, match="damaged"):
        await EmbeddedPostgres(folder).start()
    (folder / "cluster" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 9"):
        await EmbeddedPostgres(folder).start()


async def test_a_start_cut_short_is_made_good(folder: Path) -> None:
    """initdb works under another name until it is done."""
    shutil.rmtree(folder / "cluster")
    (folder / "cluster.new").mkdir()
    (folder / "cluster.new" / "half").touch()
    server = EmbeddedPostgres(folder)
    assert await _ask(await server.start(), "SELECT 1") == 1
    await server.close()
    assert not (folder / "cluster.new").exists()


@AS_ROOT
async def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    small = Path(tempfile.mkdtemp())
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=755", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("may not mount a small disk")
    try:
        with pytest.raises(EmbeddedError, match="the disk is full"):
            await EmbeddedPostgres(small / "postgres").start()
        assert not (small / "postgres" / "cluster").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)
        small.rmdir()


async def test_where_nothing_can_be_made() -> None:
    with pytest.raises(EmbeddedError, match="does not start"):
        await EmbeddedPostgres(Path("/dev/null/postgres")).start()


@AS_ROOT
async def test_a_copy_made_as_root_is_given_back_to_the_servers_user(folder: Path) -> None:
    copy = folder.parent / "copy"
    subprocess.run(["cp", "-r", str(folder), str(copy)], check=True)
    assert (copy / "cluster").stat().st_uid == 0
    (copy / "cluster").chmod(0o755)
    (copy / "cluster" / "elsewhere").symlink_to(folder.parent)
    before = folder.parent.stat().st_uid
    server = EmbeddedPostgres(copy)
    try:
        assert await _ask(await server.start(), "SELECT 1") == 1
    finally:
        await server.close()
    assert (copy / "cluster").stat().st_uid != 0
    assert folder.parent.stat().st_uid == before, "what a link leads to is left alone"


@AS_ROOT
async def test_a_copy_where_only_the_folder_kept_its_owner(folder: Path) -> None:
    subprocess.run(["chown", "root", str(folder / "cluster" / "postgresql.conf")], check=True)
    server = EmbeddedPostgres(folder)
    try:
        assert await _ask(await server.start(), "SELECT 1") == 1
    finally:
        await server.close()


def test_another_users_cluster_is_refused_in_one_sentence(folder: Path) -> None:
    here = (folder / "cluster").stat()
    somebody = Account(here.st_uid + 1, here.st_gid, switch=False)
    with pytest.raises(EmbeddedError, match="belong to another user") as refused:
        hold(folder / "cluster", somebody)
    assert "chown -R" in str(refused.value)
    assert "\n" not in str(refused.value)
