"""PostgreSQL without an address: a server of our own under the data folder."""

from storage.embedded.errors import EmbeddedError
from storage.embedded.postgres import EmbeddedPostgres

__all__ = ["EmbeddedError", "EmbeddedPostgres"]
