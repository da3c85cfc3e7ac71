"""Signing in with an account elsewhere: the way there and back, and which account here it opens."""
