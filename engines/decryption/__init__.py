"""Decryption: decrypts for one identity. Who has its address may have it decrypt."""
