"""The Storage: chunks of objects, by their digests.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions. How
objects are cut into chunks is in `anoma.chunks`.
"""
