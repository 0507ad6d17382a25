"""The torch modules of ops, each of which changes a whole batch on the device where it is."""
