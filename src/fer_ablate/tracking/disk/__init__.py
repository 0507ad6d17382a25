"""The folder of a run: the truth about it."""
