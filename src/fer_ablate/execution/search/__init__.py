"""A search: its settings, trials and output."""
