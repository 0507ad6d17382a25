"""Figures of runs, studies and searches."""
