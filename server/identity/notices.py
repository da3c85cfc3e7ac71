"""Mails that tell the owner of an account what has happened to it. They go to an address that is verified, or nowhere:
an address that somebody has only typed in is not told what he does."""

from __future__ import annotations

from server.identity.ground import Ground
from server.identity.models import Account
from server.kit.auth import Origin
from server.kit.clock import now
from storage.postgres import Connection


async def session_reused(ground: Ground, connection: Connection, account: Account, origin: Origin) -> None:
    await _send(ground, connection, account, "session_reused", _from(account, origin))


async def new_sign_in(ground: Ground, connection: Connection, account: Account, origin: Origin) -> None:
    values = {**_from(account, origin), "url_sessions": ground.url("account")}
    await _send(ground, connection, account, "new_sign_in", values)


async def password_changed(ground: Ground, connection: Connection, account: Account, origin: Origin) -> None:
    values = {**_from(account, origin), "url_sessions": ground.url("account")}
    await _send(ground, connection, account, "password_changed", values)


async def locked_out(ground: Ground, connection: Connection, account: Account) -> None:
    values: dict[str, object] = {
        "username": account.username,
        "when": _when(),
        "minutes": max(1, round(ground.settings.wrong_password_wait_most / 60)),
        "url_reset": ground.url("account/reset"),
    }
    await _send(ground, connection, account, "locked_out", values)


async def email_changed(ground: Ground, connection: Connection, account: Account, new_email: str) -> None:
    """To the address that the account had until now."""
    values: dict[str, object] = {
        "username": account.username,
        "new_email": new_email,
        "url_support": ground.url("account"),
    }
    await _send(ground, connection, account, "email_changed", values)


async def factors_removed(ground: Ground, connection: Connection, account: Account) -> None:
    what = "The operator of the server removed every second factor"
    values: dict[str, object] = {"username": account.username, "what": what, "when": _when()}
    await _send(ground, connection, account, "factor_changed", values)


async def _send(
    ground: Ground, connection: Connection, account: Account, template: str, values: dict[str, object]
) -> None:
    if account.email_verified_at is not None:
        await ground.mailer.send(connection, account.email, template, values)


def _from(account: Account, origin: Origin) -> dict[str, object]:
    return {
        "username": account.username,
        "when": _when(),
        "address": origin.address,
        "user_agent": origin.user_agent,
    }


def _when() -> str:
    return now().isoformat(timespec="seconds")
