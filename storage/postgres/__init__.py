"""PostgreSQL: the pool of connections and the migrations."""

from storage.postgres.database import Connection, Database, DatabaseUnavailable
from storage.postgres.migrations import MigrationError, migrate

__all__ = ["Connection", "Database", "DatabaseUnavailable", "MigrationError", "migrate"]
