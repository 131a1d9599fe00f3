"""Naming: knows, by evidence, what identities are called."""
