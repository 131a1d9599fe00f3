"""Logging: the logbook of a node.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
