"""Rows x seeds -> plan -> runs -> a table that judges itself."""
