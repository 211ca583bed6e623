"""Subjects of a benchmark: mixers of this library, other libraries' mixers, and torch's fused attention."""
