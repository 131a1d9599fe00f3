"""A Shard has some of the store's keys: it keeps their versions, locks them, and serves reads when they are decided."""
