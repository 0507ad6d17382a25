"""One module per verb of the command line, and what they share to talk to people."""
