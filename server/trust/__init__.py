"""What keeps accounts and the place safe: the log of security events."""
