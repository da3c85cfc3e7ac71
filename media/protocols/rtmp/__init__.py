"""RTMP as a server of publishers speaks it: handshake, chunks, commands, and the state machine over them."""
