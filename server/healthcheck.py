"""`python -m server.healthcheck`: ends with 0 when the server on this machine answers; for a container's health check.

It asks /health/live: a container that fails its check is taken out or started again, and while the database is away
that would end the live broadcasts that go on without it. Whether to send requests here is what /health/ready says,
to balancers.

Standard library and settings only, so that it starts quickly.
"""

from __future__ import annotations

import http.client
import sys

from server.settings import SettingError, Settings

TIMEOUT_SECONDS = 4.0


def main() -> None:
    try:
        settings = Settings.load()
    except SettingError as error:
        sys.exit(f"Setting: {error}")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http_host, settings.http_host)
    connection = http.client.HTTPConnection(host, settings.http_port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"not well ({answer.status}): {answer.read(2000).decode(errors='replace')}")
    except (OSError, http.client.HTTPException) as error:
        sys.exit(f"no answer: {error or type(error).__name__}")
    finally:
        connection.close()


if __name__ == "__main__":
    main()
