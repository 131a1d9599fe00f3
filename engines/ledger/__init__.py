"""The Ledger: what lasts of a node, and the engine that others reach it through.

`records` are its values, `encoding` how they are kept as bytes, `store` what may be done with them. Two stores keep
them: `sqlite_store` in a file, `mnesia_store` on a BEAM of the cluster. `verification` checks one, `transfer` writes
one out and reads it in again. `messages`, `behaviour` and `server` are the engine.
"""
