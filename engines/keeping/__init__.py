"""What engines share that keep a table: key-value storage, time series, dynamic configuration, the log.

`behaviour` answers requests in their order, and lets a change be seen once it lasts; `subscriptions` says who is told
of changes; `messages` has what they ask the world for, and hear of it; `ledger` asks the engine Ledger for it.

No engine of its own: there is no ``server`` in here.
"""
