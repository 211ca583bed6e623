"""Beside the eighteen: order counts where it should, and only there.

Positions are counted from zero, a mixer takes the positions that it declares and refuses others, relative positions
depend on differences only, and a mixer that is blind to order gives permuted outputs for permuted inputs.

Inputs: positions shifted by 37, spread, and tokens permuted.

Exempt: parts without the ability `order_blind` from the last, and without `relative` from differences of positions on
queries and keys: feature maps, hashes and metrics see turned vectors as they are. Positions on the input or on a layer
are absolute.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from formers.computation import Computation
from formers.mixers import Mixer
from formers.part import Part, Site, Unsupported
from formers.positions import Alibi, Position, Rotary, Shaw
from formers.testing.compare import FELT, assert_same, moved
from formers.testing.harness import LENGTH, SITE, abilities, build, directions, tokens

_SHIFT = 37
"""How far positions are shifted, in tokens."""


def only_differences_count(part: Part, site: Site = SITE) -> None:
    """A position on heads or scores is relative: all positions shifted alike, the output stays."""
    if not _is_relative(part, site):
        return
    x, near = tokens(width=site.width), torch.arange(LENGTH).unsqueeze(0)
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        got, want = (module(x, positions_bl=positions)[0] for positions in (near + _SHIFT, near))
        assert_same(got, want, f"{part}: output after a shift of {_SHIFT} tokens")


def _is_relative(part: Part, site: Site) -> bool:
    """Return whether a position acts here that may count by its differences only."""
    position = part if isinstance(part, Position) else site.position
    if position is None or position.acts_on not in ("heads", "scores", "weights"):
        return False
    if isinstance(part, Computation):  # it may encode absolute positions
        return "relative" in abilities(part)
    return isinstance(part, Position) or position.acts_on != "heads" or "relative" in abilities(part)


def positions_count_from_zero(part: Part, site: Site = SITE) -> None:
    """Without positions given, tokens are counted from 0; and given other ones, the position changes the output."""
    x, near = tokens(width=site.width), torch.arange(LENGTH).unsqueeze(0)
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        want = module(x)[0]
        assert_same(module(x, positions_bl=near)[0], want, f"{part}: output with the positions 0, 1, 2, … given")
        if isinstance(part, Position) and part.acts_on != "nothing":
            spread = module(x, positions_bl=near.flip(-1) // 2)[0]
            assert moved(spread, want) > FELT, f"{part}: other positions do not change the output"


def takes_positions_it_declares(part: Part, site: Site = SITE) -> None:
    """A mixer uses a position on heads or scores if it says that it can, and refuses it if not."""
    assert isinstance(part, Mixer)
    positions: dict[str, Position] = {
        "qk_position": Rotary(),
        "score_position": Alibi(),
        "weight_position": Shaw(clip=2),
    }
    for ability, position in positions.items():
        for causal in directions(part):
            there = replace(site, position=position)
            if ability not in part.abilities:
                _refuses(part, there, causal, position)
                continue
            x = tokens(width=site.width)
            got, want = (build(part, causal=causal, site=s)(x)[0] for s in (there, replace(site, position=None)))
            assert moved(got, want) > FELT, f"{part}: position {position} does not change the output"


def _refuses(part: Mixer, site: Site, causal: bool, position: Position) -> None:
    try:
        build(part, causal=causal, site=site)
    except Unsupported as error:
        if part.name() in str(error) and position.name() in str(error):
            return
        raise AssertionError(f"{part} refuses {position}, but the message does not name both: {error}") from None
    raise AssertionError(f"{part} declares no ability for {position}, but took it without a word")


def order_makes_no_difference(part: Part, site: Site = SITE) -> None:
    """Without a position and without causality, permuting the input permutes the output."""
    x, order = tokens(width=site.width), torch.randperm(LENGTH, generator=torch.Generator().manual_seed(0))
    if False in directions(part):
        module = build(part, causal=False, site=replace(site, position=None))
        assert_same(
            module(x[:, order])[0], module(x)[0][:, order], f"{part}: output for permuted tokens, permuted back,"
        )
