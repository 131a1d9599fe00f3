"""The Transport Protocol: one for each protocol that a node speaks. It calls, and is called.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
