"""The Mempool Worker orders transactions: it gives them fingerprints, has them run, and commits them as blocks."""
