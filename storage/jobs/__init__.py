"""Work to be done later, in rows of PostgreSQL (PgQueuer): enqueued in the caller's transaction, done by workers."""

from storage.jobs.queue import Jobs
from storage.jobs.worker import Handler, Hopeless, Worker

__all__ = ["Handler", "Hopeless", "Jobs", "Worker"]
