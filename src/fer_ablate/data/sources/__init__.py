"""Readers of every kind of data set."""
