"""Where in a face a network looks."""
