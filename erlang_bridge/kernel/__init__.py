"""What a BEAM looks for in a peer: the kernel processes, and the functions that it may call."""
