"""Finished networks at work: on arrays, pictures, videos and cameras, and in the formats of others."""
