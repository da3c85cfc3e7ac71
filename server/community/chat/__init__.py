"""Chat beside a live broadcast: written live, read again with the recording."""
