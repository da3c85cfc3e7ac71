"""Real servers for tests: PostgreSQL, Redis and S3, each a child process on the loopback interface."""
