"""A Pub/Sub Topic: takes what publishers publish in it, and gives it to its subscribers.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
