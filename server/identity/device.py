"""What kind of device a session is on, in words, and the cookie by which an account's own device is known again.

The cookie signs nobody in and says nothing about who uses the device: it is a random number. Somebody who comes with
it is not slowed down by strangers' guesses at the account's password, and gets no mail about a new device.
"""

from __future__ import annotations

import secrets
from typing import Final

from server.kit.auth import Origin
from server.kit.http import Call

COOKIE: Final = "sf_device"
_PATH: Final = "/api/v1/auth"
_SECONDS: Final = 400 * 24 * 3600  # no browser keeps a cookie longer
_LENGTH: Final = range(20, 65)

_BROWSERS = (
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("okhttp/", "an app"),
    ("Dart/", "an app"),
    ("CFNetwork/", "an app"),
    ("curl/", "curl"),
    ("python", "a Python program"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Darwin", "macOS or iOS"),
    ("Linux", "Linux"),
)


def device_name(user_agent: str) -> str:
    """As `Firefox on Windows`: for the person who looks through the list of sessions, nothing is decided by it."""
    lowered = user_agent.lower()
    browser = next((name for mark, name in _BROWSERS if mark.lower() in lowered), "")
    system = next((name for mark, name in _SYSTEMS if mark.lower() in lowered), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "an unknown device"


def origin_of(call: Call, *, secure: bool) -> Origin:
    """Where the call comes from, with the device's cookie: given back to the device, or a new one.

    secure: whether the public address is https. Every route that signs somebody in takes its origin from here.
    """
    value = call.request.cookies.get(COOKIE, "")
    if len(value) not in _LENGTH or not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        value = secrets.token_urlsafe(24)
    call.set_cookie(COOKIE, value, max_age=_SECONDS, path=_PATH, secure=secure, same_site="Strict")
    address, agent, request_id = call.origin.address, call.origin.user_agent, call.origin.request_id
    return Origin(address, agent, request_id, value)
