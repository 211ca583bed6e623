"""Faulty parts, by what is wrong with them. Importing this plants them all."""

from faults import formula, generation, options, positions, precision, rows, states, streaming, whole_part

__all__ = ["formula", "generation", "options", "positions", "precision", "rows", "states", "streaming", "whole_part"]
