"""The application: a node from a command line or a file, its supervision tree, and tools to look into a cluster."""
