"""Objects: files under a key, in a folder or on an S3 server, and the spool before them."""

from storage.objects.store import BadKey, LocalStore, ObjectStore, StoreError

__all__ = ["BadKey", "LocalStore", "ObjectStore", "StoreError"]
