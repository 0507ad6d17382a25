"""From finished runs to a table that judges itself."""
