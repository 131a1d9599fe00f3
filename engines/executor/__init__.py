"""The Executor runs one transaction: it waits for its reads, runs its program, and writes what came of it."""
