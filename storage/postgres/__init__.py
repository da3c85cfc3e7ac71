"""PostgreSQL: the pool of connections and the migrations."""

from storage.postgres.database import AWAY, Connection, Database, DatabaseUnavailable, after_commit
from storage.postgres.migrations import MigrationError, migrate

__all__ = ["AWAY", "Connection", "Database", "DatabaseUnavailable", "MigrationError", "after_commit", "migrate"]
