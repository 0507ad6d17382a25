"""Several finished networks as one."""
