"""Reads what was typed and prints what was found."""
