"""Health and metrics: what an operator and his tools ask of a running process."""
