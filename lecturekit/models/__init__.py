"""One model a file, from its configuration to its loss."""
