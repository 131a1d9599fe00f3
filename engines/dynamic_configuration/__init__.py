"""Dynamic Configuration: settings of a node that change while it runs, and that engines hear the changes of.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
