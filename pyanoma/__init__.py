"""The application: a node from a command line or a TOML file, its supervision tree, and tools to look into a cluster."""
