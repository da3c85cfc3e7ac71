"""The composition root: the only folder that picks concrete classes and knows how they hang together.

`process.py` wires a server process, `worker.py` what does jobs beside it, `choices.py` makes what the settings choose.
Each is imported by its own name: a command that needs one address does not load the whole server.
"""
