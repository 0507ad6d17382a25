"""The judged table in every format."""
