"""Checkpoints of others' models: where they are, fetching them, and knowing them again."""
