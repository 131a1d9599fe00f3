"""Encryption: encrypts for an identity, or for one that reads for it."""
