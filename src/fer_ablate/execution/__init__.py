"""Runs, sweeps and searches from a checked config to what they leave."""
