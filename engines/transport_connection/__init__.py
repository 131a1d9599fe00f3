"""The Transport Connection: one link with another node, over TCP, TLS, or the distribution of a cluster.

`messages` is what it takes and sends, `behaviour` what it does, `links` the sockets, `server` the process.
"""
