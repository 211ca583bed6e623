"""Which pairs of tokens see each other: small objects that combine with `&`, `|` and `~`, in Python as in text.

    Window(128) | Global(0)            window(128) | global(0)
    Strided(64, "local") & ~Chunk(16)  strided(64, factor='local') & ~chunk(16)

A pattern answers `mask(q_idx, k_idx)`; `formers.ops.sparse_attention` takes any of them.
"""

from formers.patterns.bands import Span, Window
from formers.patterns.blocks import Blockwise, Edges, Ends, Listed, Neighbours, Random
from formers.patterns.chunks import Chunk, Local1D
from formers.patterns.image import Local2D
from formers.patterns.pattern import Both, Causal, Either, Every, Outside, Pattern, compose
from formers.patterns.strided import Columns, Fixed, Strided, Summaries
from formers.patterns.tokens import Etc, Global

PATTERNS: tuple[type[Pattern], ...] = (
    Every,
    Causal,
    Window,
    Span,
    Chunk,
    Global,
    Strided,
    Fixed,
    Columns,
    Summaries,
    Local1D,
    Local2D,
    Blockwise,
    Neighbours,
    Edges,
    Ends,
    Random,
    Listed,
    Etc,
    Both,
    Either,
    Outside,
)
"""Every pattern there is."""

__all__ = [
    "PATTERNS",
    "Blockwise",
    "Both",
    "Causal",
    "Chunk",
    "Columns",
    "Edges",
    "Either",
    "Ends",
    "Etc",
    "Every",
    "Fixed",
    "Global",
    "Listed",
    "Local1D",
    "Local2D",
    "Neighbours",
    "Outside",
    "Pattern",
    "Random",
    "Span",
    "Strided",
    "Summaries",
    "Window",
    "compose",
]
