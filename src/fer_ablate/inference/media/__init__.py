"""Pictures, videos and cameras: found, read, annotated."""
