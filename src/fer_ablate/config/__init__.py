"""From YAML files and the command line to one checked `Config` and its key."""
