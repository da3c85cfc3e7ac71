"""Videos on demand: their rows from the first byte of an upload, and the jobs that make them playable."""
