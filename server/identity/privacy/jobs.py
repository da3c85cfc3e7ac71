"""What archives and leaving have to do later: the same in the server and in a worker."""

from __future__ import annotations

from server.identity.privacy.departures import ERASE_JOB, ERASE_SECONDS, SWEEP_CRON, SWEEP_JOB, Departures
from server.identity.privacy.exports import EXPORT_JOB, EXPORT_SECONDS, Exports
from server.identity.profile.avatars import CHECK_JOB, FILES_JOB, Files, check_avatar
from server.identity.profile.service import Profiles
from storage.jobs import Worker
from storage.postgres import Database

_EXPORTS_AT_ONCE = 2


def register(
    worker: Worker, database: Database, files: Files, profiles: Profiles, exports: Exports, departures: Departures
) -> None:
    """Have the worker do the jobs of profiles, archives and leaving. Before its `start`."""

    async def delete_files(payload: bytes) -> None:
        await files.delete_prefix(payload.decode())

    async def check(payload: bytes) -> None:
        await check_avatar(database, files, payload.decode())

    async def sweep(payload: bytes) -> None:
        await exports.sweep()
        await departures.sweep()
        await profiles.release_usernames()

    worker.register(FILES_JOB, delete_files)
    worker.register(CHECK_JOB, check)
    worker.register(EXPORT_JOB, exports.make, seconds=EXPORT_SECONDS, at_once=_EXPORTS_AT_ONCE)
    worker.register(ERASE_JOB, departures.erase, seconds=ERASE_SECONDS)
    worker.register(SWEEP_JOB, sweep)
    worker.every(SWEEP_JOB, SWEEP_CRON)
