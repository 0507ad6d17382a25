"""Changes of images that a config can name, one dataclass each; `registry` lists them."""
