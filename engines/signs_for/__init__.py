"""Signs For: knows, by evidence, who signs for whom."""
