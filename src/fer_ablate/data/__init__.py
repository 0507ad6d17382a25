"""Images: reading, caching, roles, augmentation, batches."""
