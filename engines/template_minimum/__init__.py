"""The Template Minimum, the specification's pattern of an engine without settings and state.

`messages` is what it takes and sends, `behaviour` what it does, `server` the process and its callers' functions.
"""
