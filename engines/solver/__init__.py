"""The Solver: finds intents of the pool that balance together, and submits what they are together as transactions.

`messages` is what it takes and sends, `behaviour` what it does, `batch` what is to be solved as a value; `worker` is
the process of the operating system in which that is done, `worker_process` the node's end of it, `frames` what they
have in common, `server` the engine.
"""
