"""Shows where in a face a network looks, and whether that can be believed."""
