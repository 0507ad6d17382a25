"""Composes YAML files and the command line into one checked `Config`, and computes its key."""
