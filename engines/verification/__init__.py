"""Verification: tells whether an identity, or one that signs for it, has signed."""
