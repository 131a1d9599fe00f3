"""The Template, the specification's pattern of an engine: every part of one, at its smallest.

`messages` is what it takes and sends, `environment` its settings, state, mailboxes and timers, `behaviour` what it
does, `server` the process and its callers' functions.
"""
