"""Accounts, sessions and access tokens. Other features use `service.Identity` only."""
