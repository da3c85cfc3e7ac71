"""STUN and TURN servers that browsers are told of, as Link headers (RFC 9725, section 4.6).

A TURN server is opened by a name and password that never change, or by ones made for each session from a secret that it
shares with us (`use-auth-secret` of coturn, draft-uberti-behave-turn-rest-00): good until the time that the name begins
with, so that what is copied from a browser is soon worth nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time

from server.settings import SettingError, Settings

_SERVER = re.compile(
    r"(stuns?|turns?):(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?(\?transport=(?:udp|tcp))?"
)


class IceServers:
    def __init__(self, settings: Settings) -> None:
        """Raises SettingError."""
        self._servers: list[str] = []
        for server in filter(None, (part.strip() for part in settings.ice_servers.split(","))):
            found = _SERVER.fullmatch(server)
            if found is None or (found[1].startswith("stun") and found[4]):
                raise SettingError(
                    f"ICE_SERVERS has {server!r}; it takes stun:HOST:PORT and turn:HOST:PORT?transport=udp (or tcp)"
                )
            self._servers.append(server)
        self._username, self._password = settings.turn_username, settings.turn_password
        self._secret = settings.turn_secret.encode()
        self._seconds = settings.turn_seconds
        needed = any(server.startswith("turn") for server in self._servers)
        if needed and not (self._secret or self._username):
            raise SettingError("ICE_SERVERS has a TURN server: set TURN_SECRET, or TURN_USERNAME and TURN_PASSWORD")

    def links(self) -> list[str]:
        """Values of the header Link."""
        name, password = self.credentials(time.time())
        opened = f'; username="{_quoted(name)}"; credential="{_quoted(password)}"; credential-type="password"'
        return [
            f'<{server}>; rel="ice-server"' + (opened if server.startswith("turn") else "") for server in self._servers
        ]

    def credentials(self, now: float) -> tuple[str, str]:
        """Name and password for TURN. now: seconds since 1970."""
        if not self._secret:
            return self._username, self._password
        name = f"{int(now) + self._seconds}:{secrets.token_hex(8)}"
        made = hmac.new(self._secret, name.encode(), hashlib.sha1).digest()
        return name, base64.b64encode(made).decode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
