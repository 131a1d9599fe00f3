"""The distribution protocol as state machines: bytes in, events out; no I/O, no clock, no randomness."""
