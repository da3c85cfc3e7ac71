"""What becomes of an account: made, verified, recovered, changed."""
