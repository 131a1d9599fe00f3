"""The Wall Clock: the time of a node, for engines whose behaviour must not look at a clock.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
