"""The composition root: the only folder that picks concrete classes and knows how they hang together.

`process.py` wires a server process, `worker.py` what does jobs beside it, `choices.py` makes what the settings choose.
"""

from server.wiring.choices import MIGRATIONS, CannotStart
from server.wiring.process import Wiring
from server.wiring.worker import WorkerWiring

__all__ = ["MIGRATIONS", "CannotStart", "Wiring", "WorkerWiring"]
