"""What notebooks and scripts use; `fer_ablate` itself has the names."""
