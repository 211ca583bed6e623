"""The machine that the library runs on: what it is, its memory, its files, its shell."""
