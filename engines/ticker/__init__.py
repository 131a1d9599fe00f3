"""The Ticker, the specification's smallest engine: a counter.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
