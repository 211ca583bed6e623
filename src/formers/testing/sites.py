"""Sites that laws run at: more than one size, and each place where a position may act."""

from __future__ import annotations

from dataclasses import replace

from formers.computation import Computation
from formers.part import Part, Site, Unsupported
from formers.part.site import Place
from formers.positions import Alibi, Cosine, Position, Rotary, Shaw
from formers.testing.harness import SITE
from formers.testing.hosts import axis_of, mixer_of


def _site(width: int, heads: int, position: Position | None = None) -> Site:
    return Site(width=width, heads=heads, causal=False, context_length=SITE.context_length, position=position)


WIDE = _site(72, 1)
"""A head as wide as real ones, alone so that laws stay quick."""
WIDE_PAIR = _site(144, 2)
"""Two heads as wide, for parts that need more than one."""
POSITIONED: dict[Place, Site] = {
    "layer": _site(30, 5, Cosine()),
    "heads": _site(48, 4, Rotary()),
    "scores": _site(42, 6, Alibi()),
    "weights": _site(40, 4, Shaw(clip=3)),
}
"""Place → a site whose position acts there. Sizes differ from site to site, so that none is special."""
_NEEDED: dict[Place, str] = {"heads": "qk_position", "scores": "score_position", "weights": "weight_position"}
"""The ability that a mixer must have for a position to act there."""


def sites_of(part: Part) -> list[Site]:
    """Return the sites that the part must keep its laws at: without a position, with each that it can take, and
    wide. Of a computation, whose positions and sizes are those of its layers, one is enough."""
    if axis_of(part) is Computation:
        return [SITE]
    wide = [site for site in (WIDE, WIDE_PAIR) if takes(part, site)][:1]
    return [SITE, *(POSITIONED[place] for place in places_of(part)), *wide]


def takes(part: Part, site: Site) -> bool:
    """Return whether the part's mixer can be built at a site, as one of several heads cannot with a single one."""
    mixer = mixer_of(part)
    try:
        mixer.check_site(replace(site, causal="bidirectional" not in mixer.abilities))
    except Unsupported:
        return False
    return True


def places_of(part: Part) -> list[Place]:
    """Return where a position may act on the part: on queries, scores or weights only if its mixer has them.

    A position itself is the only one of its site. A computation hands positions on to layers, which keep the laws with
    each.
    """
    if axis_of(part) in (Position, Computation):
        return []
    can = mixer_of(part).abilities
    return [place for place in POSITIONED if place not in _NEEDED or _NEEDED[place] in can]


def label(site: Site) -> str:
    """Return a short name for messages and test ids: `D=24, H=3` and the position, if any."""
    position = "" if site.position is None else f", {site.position}"
    return f"D={site.width}, H={site.heads}{position}"
