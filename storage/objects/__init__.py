"""Objects: files under a key, in a folder or on an S3 server, and the spool before them."""

from storage.objects.behind import Behind
from storage.objects.parts import Appender, Lost, Parts, Piece
from storage.objects.store import BadKey, LocalStore, ObjectStore, StoreError

__all__ = ["Appender", "BadKey", "Behind", "LocalStore", "Lost", "ObjectStore", "Parts", "Piece", "StoreError"]
