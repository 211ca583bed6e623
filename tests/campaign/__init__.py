"""A campaign against the library: malformed input through every way in, and studies killed at every file operation."""
