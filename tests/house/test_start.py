"""A start that cannot be: one sentence that says what to do, the status 1, and nothing made before it is known."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.__main__ import low_disk
from server.commands import database_host, in_words
from server.settings import SettingError, Settings
from storage.embedded import EmbeddedPostgres
from storage.postgres import DatabaseUnavailable
from tests.house.conftest import ROOT

TLS_WANTED = (80877103).to_bytes(4)
"""What a client of PostgreSQL asks first: https://www.postgresql.org/docs/current/protocol-message-formats.html"""
EVERY_PROGRAM = ("server", "server.migrate", "server.worker", "server.admin")


async def refused(module: str, *arguments: str, typed: str = "", **environ: str) -> str:
    """What it says on its way out, which is one sentence for a person."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "", "HTTP_PORT": "0", "RTMP_PORT": "0", "RTC_PORT": "0", **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, errors = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
    said = errors.decode()
    assert process.returncode == 1, said
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_a_taken_rtmp_port_is_known_before_a_database_is_made(tmp_path: Path, taken_port: int) -> None:
    said = await refused("server", DATA_DIR=str(tmp_path), RTMP_PORT=str(taken_port))
    assert said.startswith(f"Cannot start: port {taken_port} is in use")
    assert "RTMP_PORT" in said
    assert not (tmp_path / "postgres").exists()


async def test_a_taken_webrtc_port_is_known_before_a_database_is_made(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        port = other.getsockname()[1]
        said = await refused("server", DATA_DIR=str(tmp_path), RTC_PORT=str(port))
    assert said.startswith(f"Cannot start: port {port} is in use")
    assert "RTC_PORT" in said
    assert not (tmp_path / "postgres").exists()


async def test_a_name_where_webrtc_needs_an_address(tmp_path: Path) -> None:
    said = await refused("server", DATA_DIR=str(tmp_path), PUBLIC_IP="live.example.org")
    assert "PUBLIC_IP: 'live.example.org' is not an address" in said
    assert not (tmp_path / "postgres").exists()


async def test_a_second_instance_on_the_same_folder(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "postgres")
    await embedded.start()
    try:
        said = await refused("server", DATA_DIR=str(tmp_path))
    finally:
        await embedded.close()
    assert said.startswith("Cannot start: ")
    assert f"in use by process {os.getpid()}" in said


@pytest.mark.parametrize("module", ["server", "server.migrate", "server.admin"])
async def test_a_data_folder_that_is_a_file(tmp_path: Path, module: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    arguments = ("--email", "a@example.org", "--username", "ada") if module == "server.admin" else ()
    said = await refused(module, *arguments, typed="correct horse battery\n", DATA_DIR=str(file))
    assert said.startswith(f"Cannot start: DATA_DIR {file} cannot be written: it is a file")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
async def test_a_data_folder_that_nobody_can_make() -> None:
    said = await refused("server", DATA_DIR="/proc/nothing")
    assert said.startswith("Cannot start: DATA_DIR /proc/nothing cannot be written: ")


@pytest.mark.parametrize("module", ["server", "server.migrate", "server.worker"])
async def test_a_database_that_is_none_names_its_host_and_no_password(tmp_path: Path, module: str) -> None:
    """It answers, and not as PostgreSQL does, so nobody waits for it to come up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            said = await reader.readexactly(int.from_bytes(await reader.readexactly(4)) - 4)
            if said[:4] != TLS_WANTED:
                break
            writer.write(b"N")
        words = b"SFATAL\x00C28P01\x00Mno entry for it\x00\x00"
        writer.write(b"E" + (len(words) + 4).to_bytes(4) + words)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        address = f"postgresql://ada:secret-word@127.0.0.1:{port}/none"
        said = await refused(module, DATA_DIR=str(tmp_path), DATABASE_URL=address)
    assert said.startswith("Cannot start: ")
    assert f"127.0.0.1:{port}" in said
    assert "DATABASE_URL" in said
    assert "secret-word" not in said


def test_a_connection_that_is_refused_in_words() -> None:
    settings = Settings(database_url="postgresql://ada:secret@db.example.org:6432/x")
    error = DatabaseUnavailable("no connection")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    many = OSError("Multiple exceptions: [Errno 111] …, [Errno 111] …")
    unknown = socket.gaierror(-2, "Name or service not known")
    for failure in (error, error.__cause__, many, unknown, TimeoutError()):
        said = in_words(failure, settings)
        assert "no PostgreSQL at db.example.org:6432" in said
        assert "secret" not in said


def test_an_address_that_cannot_be_read_is_not_quoted() -> None:
    settings = Settings(database_url="postgresql://ada:half/word@db.example.org/x")
    assert "half" not in in_words(DatabaseUnavailable("Port could not be cast … 'half'"), settings)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("postgresql://u:p@db.example.org:6432/x", "db.example.org:6432"),
        ("postgresql://u:p@db.example.org/x", "db.example.org"),
        ("postgresql://u@/x?host=/run/pg&port=1", "/run/pg"),
        ("postgresql:///x", "localhost"),
        ("postgresql://u:a/b@h/x", ""),
    ],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert database_host(address) == host


def test_all_bad_settings_are_told_at_once() -> None:
    wrong = {"HTTP_PORT": "eighty", "RECORD": "perhaps", "RTMP_PORT": "70000", "LOG_FORMAT": "xml", "TLS_CERT": "c"}
    with pytest.raises(SettingError) as refused:
        Settings.load(wrong, None)
    for name in wrong:
        assert str(refused.value).count(name) == 1


def test_a_disk_with_little_room_is_told(tmp_path: Path) -> None:
    said = low_disk(Settings(data_dir=str(tmp_path), disk_min_free=1 << 60))
    assert said is not None
    assert "1099511627776 MiB" in said
    assert f"DISK_MIN_FREE={1 << 60}, in bytes" in said
    assert low_disk(Settings(data_dir=str(tmp_path), disk_min_free=0)) is None
    assert low_disk(Settings(data_dir=str(tmp_path), disk_min_free=1 << 60, record=False)) is None


@pytest.mark.parametrize("module", EVERY_PROGRAM)
async def test_help_is_a_few_lines(module: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--help"), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert said.startswith(b"usage: bin/")


@pytest.mark.parametrize("name", ["check", "fuzz", "test", "bench"])
def test_programs_of_the_shell_have_help_too(name: str) -> None:
    done = subprocess.run(
        [ROOT / "bin" / name, "--help"], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert f"bin/{name}" in done.stdout
