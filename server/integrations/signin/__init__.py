"""Signing in with an account elsewhere: what each provider speaks, behind one Protocol."""
