"""Shows finished runs: figures, tables, pages."""
