"""Laws that every part keeps, for the parts of this library and for yours.

`check(part)` raises with every law that is broken; `broken_laws(part)` returns them; `keeps_laws(part)` says yes or no.

    from formers.testing import check

    def test_my_mixer():
        check(MyMixer(window=5))
"""

from formers.testing.check import LAWS, SLOW_LAWS, Law, broken_laws, check, keeps_laws, laws_of
from formers.testing.compare import assert_finite, assert_same, assert_zero
from formers.testing.harness import HOSTS, SITE, abilities, build, directions, padding_mask, tokens
from formers.testing.naive_ops import naive_ops
from formers.testing.references import has_reference, reference

__all__ = [
    "HOSTS",
    "LAWS",
    "SITE",
    "SLOW_LAWS",
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
    "tokens",
]
