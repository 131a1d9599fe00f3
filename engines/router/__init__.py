"""The Router: one for each other node, through which everything to and from that node goes.

`messages` is what it takes and sends, to engines and to the other node, `frames` how the latter are bytes, `envelopes`
what an envelope may be that crosses from node to node, `books` what is on its way and what has come. `behaviour` is
what it does, with `connecting`, `outgoing` and `incoming`, on the `state`; `server` the process and its callers'
functions.
"""
