"""The log of security events: written in the transaction of what it tells, read by its owner and by staff."""

from server.trust.audit.service import AuditLog

__all__ = ["AuditLog"]
