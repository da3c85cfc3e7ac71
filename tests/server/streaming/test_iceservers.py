"""STUN and TURN servers in Link headers; coturn itself judges the passwords."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import stun, turn

from server.settings import SettingError, Settings
from server.streaming.iceservers import IceServers
from tests.servers.program import Program
from tests.support import free_port

SECRET = "what coturn knows, too"


class TurnServer(Program):
    """coturn with use-auth-secret, on the loopback alone."""

    def start(self, folder: Path) -> None:
        self.begin(
            "turnserver (apt install coturn)",
            [
                "turnserver", "-n", "--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=test",
                "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={self.port}",
                "--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers", "--log-file=stdout",
                f"--userdb={folder / 'turn.db'}", f"--pidfile={folder / 'turn.pid'}",
            ],
        )  # fmt: skip


@pytest.fixture
def coturn(tmp_path: Path) -> Iterator[TurnServer]:
    server = TurnServer(free_port())
    server.start(tmp_path)
    yield server
    server.close()


async def test_passwords_are_good_at_a_real_turn_server_until_they_are_stale(coturn: TurnServer) -> None:
    address = f"turn:127.0.0.1:{coturn.port}?transport=udp"
    ice = IceServers(Settings(ice_servers=address, turn_secret=SECRET, turn_seconds=60))
    [link] = ice.links()
    found = re.fullmatch(
        rf'<{re.escape(address)}>; rel="ice-server"; username="([^"]+)"; credential="([^"]+)"; '
        r'credential-type="password"',
        link,
    )
    assert found is not None, link
    assert await opens(coturn, found[1], found[2])
    assert not await opens(coturn, *ice.credentials(time.time() - 120))
    assert not await opens(coturn, found[1], "guessed")


async def opens(server: TurnServer, username: str, password: str) -> bool:
    try:
        transport, _ = await turn.create_turn_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", server.port), username=username, password=password
        )
    except stun.TransactionFailed as failed:
        return bool(failed.response.attributes["ERROR-CODE"][0] != 401)  # Unauthorized, and nothing else
    relayed = transport.get_extra_info("sockname")
    transport.close()
    return bool(relayed)


def test_a_password_that_stays() -> None:
    settings = Settings(
        ice_servers="stun:stun.example.org, turns:[2001:db8::1]:5349", turn_username='we "all"', turn_password="pass"
    )
    assert IceServers(settings).links() == [
        '<stun:stun.example.org>; rel="ice-server"',
        '<turns:[2001:db8::1]:5349>; rel="ice-server"; username="we \\"all\\""; credential="pass"; '
        'credential-type="password"',
    ]
    assert IceServers(Settings()).links() == []


@pytest.mark.parametrize(
    "settings",
    [
        Settings(ice_servers="https://example.org"),
        Settings(ice_servers='turn:a>; rel="x"', turn_secret="x"),
        Settings(ice_servers="stun:a?transport=udp"),
        Settings(ice_servers="turn:example.org"),
    ],
    ids=lambda settings: settings.ice_servers,
)
def test_what_cannot_be(settings: Settings) -> None:
    with pytest.raises(SettingError, match="ICE_SERVERS"):
        IceServers(settings)
