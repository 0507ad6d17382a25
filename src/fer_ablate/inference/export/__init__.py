"""Finished networks in formats that other programs run."""
