"""The charts of a benchmark: time and memory against a size, both axes logarithmic."""
