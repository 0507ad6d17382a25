"""What is shown of finished runs: pictures, tables, pages."""
