"""Fair timing on this machine: candidates take turns, and memory and operations are counted besides."""
