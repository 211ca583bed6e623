"""Corpora: texts of files, folders and the hub, cut into splits and read as the numbers of a tokenizer."""
