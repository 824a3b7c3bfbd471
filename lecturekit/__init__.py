"""Transformer language models, each to be read top to bottom in one file. Students re-implement them in labs."""
