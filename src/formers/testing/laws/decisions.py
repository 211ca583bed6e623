"""A Decision Transformer on the part decides by what has happened.

The action of a step follows from the returns and states up to it and from the actions before it: later ones move
nothing, and neither does the action of the step itself. Each trajectory of a batch is decided as if it were alone,
whatever stands in the padding on its left.

Inputs: two trajectories of 25 steps, 75 tokens, with discrete actions; padded, of 17 and 25 steps behind NaN.

Exempt: mixers without the ability `causal`, which the model refuses; padding, of those without the ability `padding`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from formers.part import Part, Site
from formers.testing.compare import FELT, assert_same, moved
from formers.testing.harness import BATCH, SITE, unsettled
from formers.testing.hosts import deciding

_STEPS, _SHORT = 25, 17
_CUTS = (1, 12, _STEPS - 1)
"""Steps from which on trajectories are changed."""


@torch.no_grad()
def decisions_follow_from_the_past(part: Part, site: Site = SITE) -> None:
    """No action moves with what comes after its state; one that saw nothing of its own state would be no answer."""
    model, given = unsettled(lambda: deciding(part, site)), _trajectories(site.width)
    decided = model(**given).action_preds
    for cut in _CUTS:
        later = {name: tensor.clone() for name, tensor in given.items()}
        later["actions"][:, cut - 1 :] = 2 - later["actions"][:, cut - 1 :]
        for name in ("states", "returns_to_go"):
            later[name][:, cut:] *= 1e3
        found = model(**later).action_preds
        assert_same(
            found[:, :cut], decided[:, :cut], f"{part}: actions before step {cut}, when all later ones changed,"
        )
        felt = moved(found[:, cut], decided[:, cut])
        assert felt > FELT, f"{part}: the action of step {cut} does not depend on its state and return"


@torch.no_grad()
def padded_steps_move_no_decision(part: Part, site: Site = SITE) -> None:
    """Trajectories of two lengths, padded on the left with NaN, are decided as each alone."""
    model, given = unsettled(lambda: deciding(part, site)), _trajectories(site.width)
    mask_bk = torch.ones(BATCH, _STEPS, dtype=torch.long)
    mask_bk[0, : _STEPS - _SHORT] = 0
    padded = {
        name: tensor.masked_fill(_like(mask_bk == 0, tensor), torch.nan if tensor.is_floating_point() else 0)
        for name, tensor in given.items()
    }
    found = model(**padded, attention_mask=mask_bk).action_preds
    for row in range(BATCH):
        real = mask_bk[row].bool()
        alone = model(**{name: tensor[row : row + 1, real] for name, tensor in given.items()}).action_preds
        assert_same(found[row : row + 1, real], alone, f"{part}: actions of trajectory {row}, padded instead of alone,")


def _trajectories(width: int) -> dict[str, Tensor]:
    """Return steps, drawn: states as wide as the model, one of three actions, and a return that falls."""
    draw = torch.Generator().manual_seed(3)
    steps = torch.arange(_STEPS).expand(BATCH, -1)
    return {
        "states": torch.randn(BATCH, _STEPS, width, generator=draw, dtype=torch.float64),
        "actions": torch.randint(0, 3, (BATCH, _STEPS), generator=draw),
        "timesteps": steps,
        "returns_to_go": 1 - steps.double() / _STEPS,
    }


def _like(mask_bk: Tensor, tensor: Tensor) -> Tensor:
    return mask_bk.unsqueeze(-1) if tensor.dim() == 3 else mask_bk
