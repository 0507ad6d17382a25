"""Functions for notebooks and scripts; they are imported from `fer_ablate` itself."""
