"""Static Configuration: settings of a node that stay as they are for as long as it runs.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
