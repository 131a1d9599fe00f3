"""Reads For: knows, by evidence, who reads what is encrypted for whom."""
