"""A term's work: from the roster to the final grades."""
