"""Ablation studies of facial-expression networks."""
