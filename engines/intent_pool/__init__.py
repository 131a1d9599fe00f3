"""The Intent Pool: keeps intents until they are executed, and tells solvers of them.

`intents` says what an intent is, `messages` what the pool takes and sends, `behaviour` what it does, `chain` how it
asks the ledger, `server` the process and its callers' functions.
"""
