"""`bin/admin`: make an administrator."""

from __future__ import annotations

import argparse
import getpass
import sys

from server.commands import CommandError, database_address, run, say
from server.identity.service import Identity
from server.kit.audit import NoAudit
from server.kit.mail import NoMail
from server.kit.problems import Problem
from server.kit.secrets import Secrets
from server.settings import Settings
from server.wiring import MIGRATIONS
from storage.postgres import Database, migrate


def main() -> None:
    arguments = argparse.ArgumentParser(
        prog="bin/admin",
        description="Make an administrator. What is not given is asked for; a password that is not typed at a "
        "terminal is read from standard input.",
    )
    arguments.add_argument("--email", help="the address, taken as verified")
    arguments.add_argument("--username", help="the public name")
    options = arguments.parse_args()
    try:
        email = options.email or _ask("E-mail: ")
        username = options.username or _ask("Username: ")
        password = _password()
    except (CommandError, EOFError) as error:
        sys.exit(str(error) or "Nothing was typed.")
    except KeyboardInterrupt:
        sys.exit(130)
    run(make(email, username, password))


async def make(email: str, username: str, password: str) -> None:
    """Migrate when needed and add the account. Raises CommandError."""
    settings = Settings.load()
    async with database_address(settings) as address:
        await migrate(address, MIGRATIONS)
        database = Database(address, max_size=2)
        await database.start()
        try:
            secrets = Secrets(database, settings.secret_key)
            await secrets.start()
            identity = Identity(database, settings, mailer=NoMail(), audit=NoAudit(), secrets=secrets)
            try:
                profile = await identity.create_admin(email, username, password)
            except Problem as problem:
                raise CommandError(_in_words(problem)) from None
            finally:
                await identity.close()
        finally:
            await database.close()
    say(f"{profile.username} is an administrator.")


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
