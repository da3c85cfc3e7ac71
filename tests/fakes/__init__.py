"""Stand-ins for companies outside, which speak their wire protocol on the loopback interface."""
