"""Sockets, channels, presence. Knows no SQL and no feature: it asks them through the Protocols of `rules.py`."""
