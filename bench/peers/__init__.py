"""Small servers that do one thing with bare libraries: what the server is compared with."""
