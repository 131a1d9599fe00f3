"""Commitment: signs for one identity. Who has its address may have it sign."""
