"""Laws that every part keeps, for the parts of this library and for yours.

`check(part)` raises with every law that is broken; `broken_laws(part)` returns them; `keeps_laws(part)` says yes or no.

    from formers.testing import check

    def test_my_mixer():
        check(MyMixer(window=5))
"""

from formers.testing.check import (
    ANYWHERE,
    CORE_LAWS,
    LAWS,
    SLOW_LAWS,
    Law,
    broken_laws,
    check,
    keeps_laws,
    laws_of,
    trials_of,
)
from formers.testing.compare import assert_finite, assert_same, assert_zero
from formers.testing.harness import SITE, abilities, build, directions, padding_mask, tokens
from formers.testing.hosts import HOSTS
from formers.testing.naive_ops import naive_ops
from formers.testing.references import has_reference, reference
from formers.testing.sites import POSITIONED, WIDE, sites_of

__all__ = [
    "ANYWHERE",
    "CORE_LAWS",
    "HOSTS",
    "LAWS",
    "POSITIONED",
    "SITE",
    "SLOW_LAWS",
    "WIDE",
    "Law",
    "abilities",
    "assert_finite",
    "assert_same",
    "assert_zero",
    "broken_laws",
    "build",
    "check",
    "directions",
    "has_reference",
    "keeps_laws",
    "laws_of",
    "naive_ops",
    "padding_mask",
    "reference",
    "sites_of",
    "tokens",
    "trials_of",
]
