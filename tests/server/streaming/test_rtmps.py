"""RTMP over TLS, and what the terminal says when the server cannot start."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from server.kit.clock import now
from server.settings import SettingError, Settings
from tests.server.streaming.conftest import ServerProcess, User
from tests.server.streaming.test_live import is_state, segments
from tests.support import free_port


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A self-made certificate and its key, as files."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "cert.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


async def test_a_push_over_tls(
    server: ServerProcess,
    environment: dict[str, str],
    streamer: User,
    http: aiohttp.ClientSession,
    tmp_path: Path,
) -> None:
    chain, private = certificate(tmp_path / "tls")
    environment |= {"TLS_CERT": str(chain), "TLS_KEY": str(private), "RTMPS_PORT": str(free_port())}
    await server.restart()
    started = await streamer.start()
    rtmps = started["ingest"]["rtmps"]
    assert rtmps.startswith("rtmps://")
    assert f":{environment['RTMPS_PORT']}/" in rtmps
    await streamer.push(rtmps)
    shown = await streamer.until(started["id"], is_state("live"))
    assert {track["kind"] for track in shown["tracks"]} == {"video", "audio"}
    await segments(http, started["playback"]["hls"], 1)


# what start-up says when it cannot


async def refused(folder: Path, environment: dict[str, str], *, within: float = 30) -> tuple[int, str]:
    """(exit code, what the terminal shows) of a server that must not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "server",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment, "DATA_DIR": str(folder)},
    )  # fmt: skip
    try:
        async with asyncio.timeout(within):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()


def in_one_sentence(code: int, said: str) -> str:
    """The words, after checking that they are for a person: no traceback, and an exit code that says failure."""
    assert code == 1, said
    assert "Traceback" not in said, said
    assert "ready http" not in said, said
    return said


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"HTTP_PORT": "eighty"}, "HTTP_PORT is 'eighty'; it takes a whole number"),
        ({"HTTP_PORT": "70000"}, "HTTP_PORT is 70000; a port is at most 65535"),
        ({"REGISTRATION": "maybe"}, "REGISTRATION is 'maybe'; it takes open | closed"),
        ({"RECORD": "perhaps"}, "RECORD is 'perhaps'; it takes true or false"),
        ({"DRAIN_SECONDS": "-1"}, "DRAIN_SECONDS is -1.0; it cannot be negative"),
        ({"LEASE_SECONDS": "0"}, "LEASE_SECONDS must be above 0"),
        ({"HTTP_HEADER_TIMEOUT": "0"}, "HTTP_HEADER_TIMEOUT must be above 0"),
        ({"BODY_TIMEOUT_UPLOAD": "0"}, "BODY_TIMEOUT_UPLOAD must be above 0"),
        ({"LEASE_SECONDS": "nan"}, "LEASE_SECONDS is 'nan'"),
        ({"TLS_CERT": "cert.pem"}, "TLS_CERT and TLS_KEY go together"),
        ({"REDIS_URL": "amqp://127.0.0.1"}, "REDIS_URL"),
        ({"S3_ENDPOINT": "localhost"}, "S3_ENDPOINT"),
        ({"DATABASE_URL": "mysql://127.0.0.1/x"}, "DATABASE_URL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be(changed: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=re.escape(words)):
        Settings.load(changed, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PORT", "eighty"), ("CORS_ORIGINS", "example.org/path"), ("RATE_LIMIT_READ", "lots")],
)
async def test_what_the_terminal_shows_of_it(
    tmp_path: Path, environment: dict[str, str], name: str, value: str
) -> None:
    said = in_one_sentence(*await refused(tmp_path / "var", environment | {name: value}))
    assert said.startswith("Setting: ")
    assert name in said
    assert value in said


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


@pytest.mark.parametrize("name", ["HTTP_PORT", "RTMP_PORT"])
async def test_a_port_in_use(tmp_path: Path, environment: dict[str, str], taken_port: int, name: str) -> None:
    said = in_one_sentence(*await refused(tmp_path / "var", environment | {name: str(taken_port)}))
    assert f"port {taken_port}" in said
    assert name in said


async def test_a_certificate_that_cannot_be_used(tmp_path: Path, environment: dict[str, str]) -> None:
    chain, private = certificate(tmp_path / "one")
    _, foreign = certificate(tmp_path / "other")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    missing = tmp_path / "nowhere.pem"
    for cert, key in ((missing, private), (chain, foreign), (broken, private)):
        tls = {"TLS_CERT": str(cert), "TLS_KEY": str(key), "RTMPS_PORT": str(free_port())}
        said = in_one_sentence(*await refused(tmp_path / "var", environment | tls))
        assert "TLS_CERT and TLS_KEY cannot be used" in said
        assert str(missing) in said or missing not in (cert, key), said


async def test_a_data_folder_that_cannot_be_written(tmp_path: Path, environment: dict[str, str]) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("not a folder")
    said = in_one_sentence(*await refused(in_the_way / "var", environment))
    assert "DATA_DIR" in said
    assert str(in_the_way) in said
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    if not os.access(locked, os.W_OK):  # for root everything can be written
        said = in_one_sentence(*await refused(locked / "var", environment))
        assert "DATA_DIR" in said


async def test_a_database_that_is_not_there(tmp_path: Path, environment: dict[str, str]) -> None:
    away = environment["DATABASE_URL"].replace("/test_", "/other_")
    assert away != environment["DATABASE_URL"]
    said = in_one_sentence(*await refused(tmp_path / "var", environment | {"DATABASE_URL": away}))
    assert "DATABASE_URL" in said
    assert "other_" in said


@pytest.mark.settings(REGISTRATION="closed")
async def test_closed_registration_says_so(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    body = {"email": "late@example.org", "username": "late", "password": "correct horse battery"}
    async with http.post(server.url + "/api/v1/auth/register", json=body) as answer:
        problem = await answer.json()
    assert answer.status == 403
    assert answer.content_type == "application/problem+json"
    assert "closed" in (problem["title"] + problem["detail"]).lower()
