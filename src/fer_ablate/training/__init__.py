"""Training, resuming and testing of one run."""
