"""The port mapper's protocol and its book of names: bytes and values, no sockets, no clock.

`messages` turns requests and replies into bytes and back, for both ends. `registrations` is what an epmd knows and
how it answers. `node_names` splits and checks ``alive@host``. The sockets are in `erlang_bridge.net`.
"""
