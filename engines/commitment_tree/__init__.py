"""The Commitment Tree: has the resource machine's tree follow the blocks, and hands out roots and paths.

`messages` is what it takes and sends, `behaviour` what it does, `paths` how it finds a path in what it keeps, `server`
the process and its callers' functions.
"""
