"""Losses, optimizers and learning-rate schedules: what a config may say of them, and what torch makes of it."""
