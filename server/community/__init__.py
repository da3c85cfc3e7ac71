"""What people say to each other and to everybody."""
