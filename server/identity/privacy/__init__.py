"""What people may ask for about their own data: an archive of it, and to be forgotten."""
