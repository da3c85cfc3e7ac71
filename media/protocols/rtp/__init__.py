"""RTP and what goes with it: bytes in, packets and frames out, and the other way. No I/O, no clock of its own."""
