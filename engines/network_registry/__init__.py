"""The Network Registry: which nodes and topics there are, and the engines that stand for them here.

`adverts` has what is known of a node or a topic, `messages` what it takes and sends, `behaviour` what it does, `server`
the process and its callers' functions.
"""
