"""Law 5: packed documents are separate.

A row of several documents gives what each of them gives alone, with positions that begin anew.

Inputs: two rows, of documents of 19, 12, 1, 8, 25 and 12 and of 44 and 33 tokens; without padding and with NaN behind
each document; at counted positions, and at ones that begin anywhere. Outputs and all gradients; in training mode
outputs, with one document 10,000 times larger.

Exempt: padding, for parts without the ability `padding`; NaN in it, in hosts where padding stays in its own place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from formers.mixers.documents import Documents
from formers.part import Part, Site
from formers.testing.compare import ROUNDING, assert_same
from formers.testing.gradients import outputs_and_gradients
from formers.testing.harness import SITE, abilities, build, directions, seed_cpu, silences_padding, tokens

_ROWS = ((19, 12, 1, 8, 25, 12), (44, 33))
"""Lengths of the documents in each row."""
_GAP = 2
"""Tokens of padding behind each document, where there is any."""


def packed_documents_are_separate(part: Part, site: Site = SITE) -> None:
    """Outputs and all gradients of documents that are packed into rows are those of each alone; outputs in train mode,
    too."""
    texts = [tokens(1, length, site.width, seed=n)[0] for n, length in enumerate(sum(_ROWS, ()))]
    anywhere = [torch.arange(len(text)) + 7 * n for n, text in enumerate(texts)]
    given = list(zip(texts, anywhere, strict=True))
    filling = torch.nan if silences_padding(part) else 1e4
    for causal in directions(part):
        module = build(part, causal=causal, site=site)
        what = f"{part}, {'causal' if causal else 'bidirectional'}, packed"
        alone = [outputs_and_gradients(module, text[None]) for text in texts]
        _packed_is_alone(module, alone, None, _packed(texts), what)
        if "padding" in abilities(part):
            _packed_is_alone(module, alone, None, _packed(texts, _GAP, filling), f"{what}, with {filling:g} between")
        alone = [outputs_and_gradients(module, text[None], positions_bl=own[None]) for text, own in given]
        _packed_is_alone(module, alone, anywhere, _packed(texts), f"{what}, at given positions")
        _train_mode_is_alone(module.train(), [texts[0] * 1e4, *texts[1:]], what)


def _packed_is_alone(
    module: nn.Module,
    alone: list[dict[str, Tensor]],
    positions: list[Tensor] | None,
    packed: tuple[Tensor, Documents, list[Tensor]],
    what: str,
) -> None:
    """Compare packed documents with the outputs and gradients of each alone."""
    x, documents, places = packed
    in_rows = None if positions is None else torch.zeros(x.shape[:2], dtype=torch.long)
    if positions is not None and in_rows is not None:
        in_rows.view(-1)[torch.cat(places)] = torch.cat(positions)
    found = outputs_and_gradients(module, x, mask_bl=documents, positions_bl=in_rows)
    for n, (place, want) in enumerate(zip(places, alone, strict=True)):
        for name in ("output", "gradient of the input"):
            assert_same(found[name].flatten(0, 1)[place], want[name][0], f"{what}: {name} of document {n}")
    allowed = ROUNDING * max(float(tensor.abs().max()) for want in alone for tensor in want.values())
    for name in found.keys() - {"output", "gradient of the input"}:
        assert_same(found[name], sum((want[name] for want in alone), torch.zeros(())), f"{what}: {name}", allowed)


@torch.no_grad()
def _train_mode_is_alone(module: nn.Module, texts: list[Tensor], what: str) -> None:
    x, documents, places = _packed(texts)
    found = _seeded(module, x, documents).flatten(0, 1)
    for n in range(1, len(texts)):
        want = _seeded(module, texts[n][None], None)[0]
        assert_same(found[places[n]], want, f"{what} with an outlier: output of document {n} in train mode")


def _seeded(module: nn.Module, x: Tensor, documents: Documents | None) -> Tensor:
    """The output, with the same random choices every time: those are made once for all documents."""
    with torch.random.fork_rng(devices=[]):
        seed_cpu(1)
        return module(x, mask_bl=documents)[0]


def _packed(texts: Sequence[Tensor], gap: int = 0, filling: float = 0.0) -> tuple[Tensor, Documents, list[Tensor]]:
    """Return the rows, where documents begin in them, and the places of each one's tokens among those of all rows."""
    length = max(sum(row) + gap * len(row) for row in _ROWS)
    x = torch.full((len(_ROWS), length, texts[0].shape[-1]), filling, dtype=texts[0].dtype)
    mask_bl, number_bl = (torch.zeros(x.shape[:2], dtype=kind) for kind in (torch.bool, torch.long))
    places: list[Tensor] = []
    for b, row in enumerate(_ROWS):
        start = 0
        for lengths in row:
            at = slice(start, start + lengths)
            x[b, at], mask_bl[b, at] = texts[len(places)], True
            number_bl[b, start:] = len(places)
            places.append(b * length + torch.arange(start, start + lengths))
            start += lengths + gap
    return x, Documents.numbered(number_bl, mask_bl if gap else None), places
