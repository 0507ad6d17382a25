"""The changes a config can name, one dataclass each: `registry` lists them."""
