"""One request, one transaction: for routes whose answer or audit line is stored beside their effect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from server.kit.problems import Problem
from storage.postgres import Connection, Database

T = TypeVar("T")


async def in_unit(database: Database, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run `work` as one unit of the database.

    A Problem is an answer, no failure: what `work` had completed in transactions of its own before (a failed attempt
    that counts) stays, as it does on routes without a unit. Anything else that is raised undoes all of it.
    """
    refused: Problem
    async with database.unit() as connection:
        try:
            return await work(connection)
        except Problem as problem:
            refused = problem
    raise refused
