"""Which pairs of tokens see each other: small objects that combine with `&`, `|` and `~`, in Python as in text.

    Window(128) | Global(0)            window(128) | global(0)
    Strided(64, "local") & ~Chunk(16)  strided(64, factor='local') & ~chunk(16)

A pattern answers `mask(q_idx, k_idx)`; `formers.ops.sparse_attention` takes any of them.

The list below, in its order, is all that commands and docs read: a new pattern is a new line.
"""

# isort: skip_file
from formers.part import members_in as _members_in
from formers.patterns.pattern import Pattern as Pattern
from formers.patterns.pattern import compose as compose

from formers.patterns.pattern import Every as Every
from formers.patterns.pattern import Causal as Causal
from formers.patterns.bands import Window as Window
from formers.patterns.bands import Span as Span
from formers.patterns.chunks import Chunk as Chunk
from formers.patterns.global_tokens import Global as Global
from formers.patterns.strided import Strided as Strided
from formers.patterns.strided import Fixed as Fixed
from formers.patterns.strided import Columns as Columns
from formers.patterns.strided import Summaries as Summaries
from formers.patterns.chunks import Local1D as Local1D
from formers.patterns.image import Local2D as Local2D
from formers.patterns.blocks import Blockwise as Blockwise
from formers.patterns.blocks import Neighbours as Neighbours
from formers.patterns.blocks import Edges as Edges
from formers.patterns.blocks import Ends as Ends
from formers.patterns.blocks import Random as Random
from formers.patterns.blocks import Listed as Listed
from formers.patterns.global_tokens import EtcPattern as EtcPattern
from formers.patterns.global_tokens import Sinks as Sinks
from formers.patterns.combined import Both as Both
from formers.patterns.combined import Either as Either
from formers.patterns.combined import Outside as Outside

PATTERNS: tuple[type[Pattern], ...] = _members_in(globals(), Pattern)
"""Every pattern, in the order of the list."""
