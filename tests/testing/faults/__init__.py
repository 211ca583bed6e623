"""Faulty parts, by what is wrong with them. Importing this plants them all."""

from faults import (
    building,
    formula,
    generation,
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
    "formula",
    "generation",
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
