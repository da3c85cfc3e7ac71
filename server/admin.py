"""`bin/admin`: make an administrator; and what an operator does to accounts: roles, tier, end-sessions, forget-factors;
rotate-keys; and storage check."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from server.commands import CommandError, database_address, run, say
from server.identity.access.roles import ROLES, TIERS
from server.identity.service import Identity
from server.integrations.mail.queue import Mails
from server.integrations.mail.templates import Templates
from server.kit.problems import Problem
from server.kit.secrets import Secrets
from server.settings import Settings
from server.trust.audit.service import AuditLog
from server.wiring.choices import MIGRATIONS, object_store
from storage.jobs import Jobs
from storage.objects.deletions import Deletions
from storage.postgres import Database, migrate


def main() -> None:
    command, *rest = sys.argv[1:] or [""]
    if command in _COMMANDS:
        _COMMANDS[command](rest)
    else:
        _make(sys.argv[1:])


def _make(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/admin",
        description="Make an administrator. What is not given is asked for; a password that is not typed at a "
        "terminal is read from standard input.",
        epilog=f"Other commands: {', '.join(_COMMANDS)}; each tells what it takes with --help.",
    )
    arguments.add_argument("--email", help="the address, taken as verified")
    arguments.add_argument("--username", help="the public name")
    options = arguments.parse_args(given)
    try:
        email = options.email or _ask("E-mail: ")
        username = options.username or _ask("Username: ")
        password = _password()
    except (CommandError, EOFError) as error:
        sys.exit(str(error) or "Nothing was typed.")
    except KeyboardInterrupt:
        sys.exit(130)

    async def make(identity: Identity) -> str:
        profile = await identity.create_admin(email, username, password)
        return f"{profile.username} is an administrator."

    run(_with_identity(make, first=True))


def _roles(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/admin roles",
        description="Give an account these roles and no others; a running server follows. "
        "Without roles: say which it has.",
    )
    arguments.add_argument("username")
    arguments.add_argument("role", nargs="*", metavar="role", help=f"of: {', '.join(ROLES)}")
    arguments.add_argument("--none", action="store_true", help="take all roles away")
    options = arguments.parse_args(given)
    if options.none and options.role:
        arguments.error("either roles or --none")
    if unknown := set(options.role) - set(ROLES):
        arguments.error(f"there is no role {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}")

    async def grant(identity: Identity) -> str:
        account = await _id(identity, options.username)
        if options.role or options.none:
            office = await identity.offices.grant(account, options.role)
        else:
            office = await identity.offices.of(account)
        return f"{office.username} has the roles: {', '.join(office.roles) or 'none'}."

    run(_with_identity(grant))


def _tier(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(prog="bin/admin tier", description="Put an account into a tier of rate limits.")
    arguments.add_argument("username")
    arguments.add_argument("tier", choices=TIERS)
    options = arguments.parse_args(given)

    async def put(identity: Identity) -> str:
        office = await identity.offices.set_tier(await _id(identity, options.username), options.tier)
        return f"{office.username} is in the tier {office.tier}."

    run(_with_identity(put))


def _end_sessions(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(prog="bin/admin end-sessions", description="Sign an account out everywhere.")
    arguments.add_argument("username")
    options = arguments.parse_args(given)

    async def end(identity: Identity) -> str:
        count = await identity.end_sessions(await _id(identity, options.username), "ended by the operator")
        return f"{count} session{'' if count == 1 else 's'} of {options.username} ended."

    run(_with_identity(end))


def _forget_factors(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/admin forget-factors",
        description="Delete the authenticator app, the passkeys and the recovery codes of somebody who has lost them. "
        "Make sure first that it is really the owner who asks: afterwards the password alone signs in.",
    )
    arguments.add_argument("username")
    options = arguments.parse_args(given)

    async def forget(identity: Identity) -> str:
        gone = await identity.offices.forget_factors(await _id(identity, options.username))
        return f"{options.username} had: {', '.join(gone)}; gone." if gone else f"{options.username} has none."

    run(_with_identity(forget))


def _rotate_keys(given: Sequence[str]) -> None:
    argparse.ArgumentParser(
        prog="bin/admin rotate-keys",
        description="Sign access tokens with a new key. Those that are out stay good until they expire.",
    ).parse_args(given)

    async def rotate(identity: Identity) -> str:
        return f"Access tokens are signed with the new key {await identity.rotate_keys()} within a minute."

    run(_with_identity(rotate))


def _storage(given: Sequence[str]) -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/admin storage",
        description="check: compare the store with the database, both ways, and tell what differs. Nothing is changed "
        "without --mend.",
    )
    arguments.add_argument("what", choices=("check",))
    arguments.add_argument("--mend", action="store_true", help="delete what no row has spoken of for a day")
    options = arguments.parse_args(given)

    async def check() -> None:
        from server.streaming.videos.invariant import Invariant  # noqa: PLC0415  no other command needs as much

        settings = Settings.load()
        async with _database(settings) as database:
            objects = object_store(settings)
            await objects.start()
            try:
                report = await Invariant(database, objects, Deletions(objects)).check(mend=options.mend, tell=say)
            finally:
                await objects.close()
        say(
            f"{report.videos} videos and {report.broadcasts} recordings: {report.orphans} objects that no row speaks "
            f"of ({report.orphan_bytes} bytes), {report.missing} missing, {report.mended} deleted."
        )

    run(check())


_COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], None]]] = {
    "roles": _roles,
    "tier": _tier,
    "end-sessions": _end_sessions,
    "forget-factors": _forget_factors,
    "rotate-keys": _rotate_keys,
    "storage": _storage,
}


async def _id(identity: Identity, username: str) -> UUID:
    person = await identity.by_username(username)
    if person is None:
        raise CommandError(f"Nobody has the username {username}.")
    return person.id


@asynccontextmanager
async def _database(settings: Settings, *, first: bool = False) -> AsyncIterator[Database]:
    """Migrated when needed. first: it may be a new one. Raises CommandError."""
    if not first and not settings.database_url and not (settings.data_path / "postgres").exists():
        raise CommandError(f"There is no database in {settings.data_path}. Give DATA_DIR as the server has it.")
    async with database_address(settings) as address:
        await migrate(address, MIGRATIONS)
        database = Database(address, max_size=2)
        await database.start()
        try:
            yield database
        finally:
            await database.close()


async def _with_identity(act: Callable[[Identity], Awaitable[str]], *, first: bool = False) -> None:
    """Act, and say what was done. first: the database may be a new one. Raises CommandError."""
    settings = Settings.load()
    async with _database(settings, first=first) as database:
        secrets = Secrets(database, settings.secret_key)
        await secrets.start()
        audit = AuditLog(database, settings.audit_retention_days)
        mailer = Mails(Jobs(), secrets, Templates(settings.base_url))  # whoever does the jobs sends them
        identity = Identity(database, settings, mailer=mailer, audit=audit, secrets=secrets)
        try:
            done = await act(identity)
        except Problem as problem:
            raise CommandError(_in_words(problem)) from None
        finally:
            await identity.close()
    say(done)


def _ask(question: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError("Without a terminal give --email and --username, and the password on standard input.")
    return input(question).strip()


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise CommandError("The two passwords differ; nothing was made.")
    return password


def _in_words(problem: Problem) -> str:
    errors = problem.extra.get("errors")
    if isinstance(errors, list) and errors:
        return "Not made: " + "; ".join(error["message"] for error in errors) + "."
    return problem.detail


if __name__ == "__main__":
    main()
