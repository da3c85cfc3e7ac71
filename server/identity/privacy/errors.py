"""What can go wrong with archives and with leaving, as problems."""

from __future__ import annotations

from datetime import datetime

from server.kit.problems import Conflict, Forbidden, NotFound


class ExportUnderWay(Conflict):
    code = "export_under_way"
    title = "An archive is being made already"


class NoExport(NotFound):
    """None was asked for, it is not ready yet, or it has expired."""

    code = "no_export"
    title = "There is no archive to fetch"


class BadRange(Conflict):
    status = 416
    code = "bad_range"
    title = "The archive has no such part"


class LastAdministrator(Conflict):
    code = "last_administrator"
    title = "Somebody has to administer this server"


class NotLeaving(NotFound):
    """The link is of another time, or the account was erased or taken back."""

    code = "not_leaving"
    title = "There is nothing to take back"


class AccountLeaving(Forbidden):
    """Its owner has deleted it, and may still take it back: send `restore` to `POST /api/v1/users/me/restore`, then
    sign in again. `due_at` says when it will be erased."""

    code = "account_leaving"
    title = "This account will be deleted"

    def __init__(self, restore: str, due_at: datetime) -> None:
        super().__init__(
            "You have deleted this account. It can be taken back until it is erased.",
            restore=restore,
            due_at=due_at.isoformat(timespec="seconds"),
        )
