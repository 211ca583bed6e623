"""Documents that are packed into rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from formers import Unsupported
from formers.catalogue import members
from formers.mixers import Documents, Fourier, Lsh, Mixer, MixerModule, Performer, Rfa, Routing, Softmax
from formers.mixers.documents import DocumentBatch
from formers.mixers.random_projections import RandomProjections
from formers.part import Site
from formers.positions import Alibi
from formers.testing import SITE, assert_same, build, directions, tokens
from formers.testing.laws import packed_documents_are_separate

NUMBERS = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 0, 0, 1]])


def sizes(documents: Documents, grouping: Any) -> list[tuple[int, ...]]:
    """The shapes of the batches in which documents are mixed."""
    seen = []

    def mix(batch: DocumentBatch) -> Tensor:
        seen.append(tuple(batch.index_nm.shape))
        return torch.zeros(*batch.index_nm.shape, 1)

    documents.map(mix, grouping)
    return seen


def test_documents_of_like_length_are_mixed_together() -> None:
    documents = Documents.numbered(NUMBERS)
    assert documents.lengths == (3, 2, 4, 8, 1)
    assert sizes(documents, "near") == [(2, 8), (2, 3), (1, 1)]
    assert sizes(documents, "all") == [(5, 8)]
    assert sizes(documents, "equal") == [(1, 8), (1, 4), (1, 3), (1, 2), (1, 1)]


def test_counts_begin_anew_and_skip_padding() -> None:
    mask_bl = torch.ones_like(NUMBERS, dtype=torch.bool)
    mask_bl[0, 4:6] = False
    counts = Documents.numbered(NUMBERS, mask_bl).counts_bl
    assert counts.tolist() == [[1, 2, 3, 1, 1, 1, 1, 2, 3], [*range(1, 9), 1]]


def test_a_number_counts_per_row() -> None:
    assert Documents.numbered(torch.zeros(3, 5, dtype=torch.long)).lengths == (5, 5, 5)


@pytest.mark.parametrize("grouping", ["near", "equal", "all"])
def test_every_token_comes_back_to_its_place(grouping: Any) -> None:
    x = tokens(2, 9)
    mask_bl = torch.ones_like(NUMBERS, dtype=torch.bool)
    mask_bl[1, 3:5] = False
    documents = Documents.numbered(NUMBERS, mask_bl)
    assert_same(documents.map(lambda batch: batch.take(x), grouping), x * mask_bl[..., None], "what is put back")


def test_rows_without_a_real_token_give_zeros() -> None:
    x, nothing = tokens(2, 9), torch.zeros_like(NUMBERS, dtype=torch.bool)
    y, _ = build(Softmax(), causal=True)(x, mask_bl=Documents.numbered(NUMBERS, nothing))
    assert_same(y, torch.zeros_like(x), "output of padding")


def test_a_state_is_refused() -> None:
    module = build(Softmax(), causal=True)
    _, state = module(tokens(2, 9))
    with pytest.raises(Unsupported, match="begins anew"):
        module(tokens(2, 9), state, mask_bl=Documents.numbered(NUMBERS))


def test_a_mixer_that_cannot_leave_out_padding_mixes_documents_of_one_length() -> None:
    packed_documents_are_separate(Fourier(), SITE)
    unknown = Documents((2, 9), torch.tensor([0, 3, 9, 18]), 9, None)
    with pytest.raises(Unsupported, match="compiled"):
        build(Fourier(), causal=False)(tokens(2, 9), mask_bl=unknown)


def test_centroids_move_once_however_many_documents_there_are() -> None:
    module = build(Routing(), causal=True).train()
    before = int(module.centroids.steps)
    y, _ = module(tokens(2, 9), mask_bl=Documents.numbered(NUMBERS))
    y.sum().backward()
    assert int(module.centroids.steps) == before + 1


@pytest.mark.parametrize(
    ("mixer", "site", "batches"),
    [
        (Softmax(), SITE, 3),
        (Softmax(), replace(SITE, position=Alibi()), 3),
        (Performer(redraw=None), SITE, 3),
        (Performer(redraw=1), SITE, 3),
        (Routing(local_heads=SITE.heads), SITE, 3),
        (Routing(), SITE, 1),
        (Lsh(), SITE, 1),
    ],
    ids=str,
)
def test_only_what_training_moves_mixes_all_documents_at_once(
    mixer: Mixer, site: Site, batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    mix = MixerModule.context

    def counted(self: MixerModule, x_bld: Tensor, *rest: Any) -> Any:
        seen.append(x_bld.shape)
        return mix(self, x_bld, *rest)

    module = build(mixer, causal=True, site=site).train()
    monkeypatch.setattr(MixerModule, "context", counted)
    module(tokens(2, 9), mask_bl=Documents.numbered(NUMBERS))
    assert len(seen) == batches


@pytest.mark.parametrize("mixer", [Performer(redraw=1), Rfa(redraw=1)], ids=str)
def test_new_directions_are_drawn_once_for_all_batches_of_documents(
    mixer: Mixer, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = build(mixer, causal=True).train()
    (directions,) = (m for m in module.modules() if isinstance(m, RandomProjections))
    directions.left.fill_(0)
    draws = []
    monkeypatch.setattr(RandomProjections, "init_weights", lambda self, std: draws.append(self.left.fill_(1)))
    module(tokens(2, 9), mask_bl=Documents.numbered(NUMBERS))
    assert len(draws) == 1


@pytest.mark.parametrize("kind", members(Mixer), ids=lambda kind: kind.name())
def test_rows_of_padding_alone_take_part_in_the_backward_pass(kind: type[Mixer]) -> None:
    """Every parameter gets a gradient, of zeros: a rank without one would leave the others waiting for it."""
    documents = Documents.numbered(NUMBERS, torch.zeros_like(NUMBERS, dtype=torch.bool))
    x = torch.full((2, 9, 24), torch.nan, dtype=torch.float64)
    for causal in directions(kind()):
        module = build(kind(), causal=causal).train()
        y_bld, _ = module(x, mask_bl=documents)
        assert not y_bld.any()
        if parameters := list(module.parameters()):
            gradients = torch.autograd.grad(y_bld.sum(), parameters)
            assert not any(gradient.any() for gradient in gradients)


def test_centroids_hear_of_rows_of_padding_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They sum what all ranks show them, so that each has to be there; nothing moves them."""
    module = build(Routing(), causal=True).train()
    shown: list[Tensor] = []
    monkeypatch.setattr(module.centroids, "move_towards", lambda x, mask_bl: shown.append(mask_bl))
    documents = Documents.numbered(NUMBERS, torch.zeros_like(NUMBERS, dtype=torch.bool))
    module(tokens(2, 9), mask_bl=documents)[0].sum().backward()
    [mask_bl] = shown
    assert not mask_bl.any()
