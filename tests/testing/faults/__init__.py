"""Faulty parts, by what is wrong with them. Importing this plants them all."""

from faults import (
    building,
    cross,
    decisions,
    derivatives,
    formula,
    generation,
    memory,
    options,
    positions,
    precision,
    probes,
    rows,
    sites,
    states,
    streaming,
    whole_part,
)

__all__ = [
    "building",
    "cross",
    "decisions",
    "derivatives",
    "formula",
    "generation",
    "memory",
    "options",
    "positions",
    "precision",
    "probes",
    "rows",
    "sites",
    "states",
    "streaming",
    "whole_part",
]
