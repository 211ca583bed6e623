"""Law 4: one pass equals chunks equals steps.

Output and final state are the same whatever way a sequence is cut, and a state is a value: it can be saved and
restored, branched from, reordered as a beam search does, and trimmed row by row; where rows may begin anew, they do.

Inputs: four ways to cut 77 tokens, without and with padding, with gradients and without; trims of 5 and 2 tokens.

Exempt: parts without the ability `streaming`, whose states would save nothing; parts without `trim`, which refuse it;
states that refuse to let single rows begin anew.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from formers.part import Part, Site, State, Unsupported, state_from_tree, state_tree
from formers.testing.compare import ROUNDING, assert_same
from formers.testing.harness import BATCH, LENGTH, SITE, abilities, build, padding_mask, tokens

_CUTS: dict[str, list[int]] = {
    "single steps, 64 and the rest": [1] * 10 + [64, LENGTH - 74],
    "1 + 1 + 30 + 45": [1, 1, 30, LENGTH - 32],
    "all but twelve, single steps": [LENGTH - 12] + [1] * 12,
}


def one_pass_equals_pieces(part: Part, site: Site = SITE) -> None:
    """Outputs and the final state are the same whatever way the sequence is cut, with padding too, with gradients or
    without."""
    module = build(part, causal=True, site=site)
    x = tokens(width=site.width)
    masks = (None, padding_mask()) if "padding" in abilities(part) else (None,)
    for mask_bl in masks:
        how = f"{part}{'' if mask_bl is None else ', padded'}"
        with torch.no_grad():
            for name, sizes in _CUTS.items():
                _pieces_agree(module, x, mask_bl, sizes, f"{how}, in {name}")
        _pieces_agree(module, x, mask_bl, [1, 1, 30, LENGTH - 32], f"{how}, with gradients, in 1 + 1 + 30 + 45")


def gradients_flow_through_states(part: Part, site: Site = SITE) -> None:
    """Gradients through a state are those of one pass, and none pass a detached one."""
    module = build(part, causal=True, site=site)
    x = tokens(width=site.width).requires_grad_()
    parameters = [p for p in module.parameters() if p.requires_grad]
    ys = torch.cat(_in_pieces(module, x, None, [33, 1, LENGTH - 34])[0], 1)
    weight = tokens(width=ys.shape[-1], seed=3)
    got = torch.autograd.grad((ys * weight).sum(), [x, *parameters], allow_unused=True)
    want = torch.autograd.grad((module(x)[0] * weight).sum(), [x, *parameters], allow_unused=True)
    names = ["the input", *(name for name, p in module.named_parameters() if p.requires_grad)]
    allowed = ROUNDING * max(float(g.abs().max()) for g in want if g is not None)
    for name, a, b in zip(names, got, want, strict=True):
        if a is None or b is None:
            assert a is b, f"{part}: a gradient of {name} exists only in {'one pass' if a is None else 'pieces'}"
        else:
            assert_same(a, b, f"{part}: gradient of {name} through states", allowed)
    _, state = module(x[:, :30])
    y, _ = module(x[:, 30:], state.detach())
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert not gradient[:, :30].any(), f"{part}: a detached state lets gradients pass"


def state_is_a_value(part: Part, site: Site = SITE) -> None:
    """Two searches may branch from one state, over and over; it can be saved, restored and reordered, and single rows
    of it begin anew, or that is refused whatever they have seen."""
    module = build(part, causal=True, site=site)
    with torch.no_grad():
        for length in (2, 30, 31):  # 31: one short of where a growing cache may be full
            _branches_do_not_meet(module, length, site.width, f"{part} after {length} tokens")
        _saved_states_go_on(module, site.width, f"{part}")
        _reordered_states_go_on(module, site.width, f"{part}")
        _reset_rows_begin_anew(module, site.width, f"{part}")


def trims_as_promised(part: Part, site: Site = SITE) -> None:
    """A trimmed state is the state before the tokens it forgot, row by row; without the ability `trim` it refuses."""
    module = build(part, causal=True, site=site)
    x, forget_b = tokens(length=40, width=site.width), torch.tensor([5, 2])
    with torch.no_grad():
        _, state = module(x)
        if "trim" not in abilities(part):
            _refuses_to_trim(state, forget_b, f"{part}")
            return
        for mask_bl in (None, padding_mask(BATCH, 40)) if "padding" in abilities(part) else (None,):
            _trimmed_states_go_on(module, x, mask_bl, forget_b, f"{part}{'' if mask_bl is None else ', padded'}")
        _everything_can_be_forgotten(module, x, f"{part}")


def _pieces_agree(module: nn.Module, x: Tensor, mask_bl: Tensor | None, sizes: list[int], what: str) -> None:
    whole, end = module(x, mask_bl=mask_bl)
    ys, state = _in_pieces(module, x, mask_bl, sizes)
    real = mask_bl if mask_bl is not None else torch.ones(x.shape[:2], dtype=torch.bool)
    assert_same(torch.cat(ys, 1)[real], whole[real], f"{what}: output")
    more = tokens(length=9, width=x.shape[-1], seed=5)
    (got, state_after), (want, end_after) = module(more, state), module(more, end)
    assert_same(got, want, f"{what}: what follows")
    if type(state) is type(end):
        _same_state(state, end, what)
    _same_state(
        state_after, end_after, f"{what} and what follows"
    )  # a short beginning may be kept otherwise until then


def _in_pieces(module: nn.Module, x: Tensor, mask_bl: Tensor | None, sizes: list[int]) -> tuple[list[Tensor], Any]:
    """The outputs of every piece, and the last state."""
    state, ys, start = None, [], 0
    for size in sizes:
        mask = None if mask_bl is None else mask_bl[:, start : start + size]
        y, state = module(x[:, start : start + size], state, mask_bl=mask)
        ys.append(y)
        start += size
    return ys, state


def _same_state(got: Any, want: Any, what: str) -> None:
    """Tensor by tensor; one that is the same for every row may be kept once."""
    assert isinstance(got, State), f"{what}: returned {type(got).__name__} instead of a state"
    assert type(got) is type(want), f"{what}: state is a {type(got).__name__}, in one pass a {type(want).__name__}"
    if not (got.is_unique and want.is_unique):  # what follows has been compared
        return
    a, b = _tensors_of(got), _tensors_of(want)
    if len(a) != len(b):  # a mask that hides nothing may be left out
        return
    for i, (s, t) in enumerate(zip(a, b, strict=True)):
        s, t = torch.broadcast_tensors(s.double(), t.double())
        assert_same(s, t, f"{what}: tensor {i} of the final state")


def _tensors_of(state: State) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    state.map(keep)
    return found


def _branches_do_not_meet(module: nn.Module, length: int, width: int, what: str) -> None:
    stem = tokens(length=length, width=width)
    left, right = (tokens(length=8, width=width, seed=seed) for seed in (11, 12))
    _, shared = module(stem[:, :-1])
    _, shared = module(stem[:, -1:], shared)  # from here on a growing state has room to spare, and branches share it
    ends: list[Any] = [shared, shared]
    ys: list[list[Tensor]] = [[], []]
    for i in range(8):  # turn by turn, so that one could overwrite what the other wrote
        for side, x in enumerate((left, right)):
            y, ends[side] = module(x[:, i : i + 1], ends[side])
            ys[side].append(y)
    y_again, _ = module(left, shared)
    for name, got, x in (
        ("first", torch.cat(ys[0], 1), left),
        ("second", torch.cat(ys[1], 1), right),
        ("third", y_again, left),
    ):
        want = module(torch.cat([stem, x], 1))[0][:, length:]
        assert_same(got, want, f"{what}: the {name} branch from one state")


def _saved_states_go_on(module: nn.Module, width: int, what: str) -> None:
    x, more = tokens(length=30, width=width), tokens(length=9, width=width, seed=5)
    _, state = module(x)
    _, state = module(more[:, :1], state)
    saved = _from_file(state, what)
    want = module(more, state)[0]
    state.map(lambda t: t.zero_() if t.is_floating_point() else t)
    assert_same(module(more, saved)[0], want, f"{what}: what follows a saved and restored state")
    held = sum(t.numel() * t.element_size() for t in _tensors_of(saved))
    assert saved.nbytes == held, f"{what}: nbytes is {saved.nbytes}, but the state holds {held} bytes"


def _from_file(state: State, what: str) -> State:
    """Return the state as it comes back from a file that holds nothing but tensors and plain values."""
    file = io.BytesIO()
    torch.save(state_tree(state), file)
    file.seek(0)
    try:
        return state_from_tree(torch.load(file, weights_only=True))
    except pickle.UnpicklingError as error:
        raise AssertionError(f"{what}: the state holds more than tensors and plain values: {error}") from None


def _reordered_states_go_on(module: nn.Module, width: int, what: str) -> None:
    rows = torch.tensor([1, 0, 1])
    x, more = tokens(length=30, width=width), tokens(3, 9, width, seed=5)
    _, state = module(x)
    got = module(more, state.reorder(rows))[0]
    want = module(torch.cat([x[rows], more], 1))[0][:, 30:]
    assert_same(got, want, f"{what}: what follows a reordered state")


def _reset_rows_begin_anew(module: nn.Module, width: int, what: str) -> None:
    x, more, refused = tokens(length=30, width=width), tokens(length=9, width=width, seed=5), []
    for length in (1, 30):
        _, state = module(x[:, :length])
        _, state = module(more[:, :1], state)
        try:
            anew = state.reset(torch.tensor([True, False]))
        except Unsupported:
            refused.append(length)
            continue
        assert anew.seen_b.tolist() == [0, length + 1], f"{what}: after row 0 began anew, {anew.seen_b.tolist()} seen"
        got = module(more[:, 1:], anew)[0]
        assert_same(got[0], module(more[:1, 1:])[0][0], f"{what}: a row that begins anew after {length + 1} tokens")
        assert_same(got[1], module(more[:, 1:], state)[0][1], f"{what}: a row beside one that begins anew")
    assert len(refused) in (0, 2), f"{what}: a state of {refused} tokens refuses to let rows begin anew, others do not"


def _refuses_to_trim(state: State, forget_b: Tensor, what: str) -> None:
    try:
        state.trim(forget_b)
    except Unsupported:
        return
    raise AssertionError(f"{what} does not declare the ability trim, but its state was trimmed without a word")


def _trimmed_states_go_on(module: nn.Module, x: Tensor, mask_bl: Tensor | None, forget_b: Tensor, what: str) -> None:
    _, state = module(x[:, :20], mask_bl=None if mask_bl is None else mask_bl[:, :20])
    _, state = module(x[:, 20:], state, mask_bl=None if mask_bl is None else mask_bl[:, 20:])
    got, _ = module(tokens(length=9, width=x.shape[-1], seed=5), state.trim(forget_b))
    for b, forget in enumerate(forget_b.tolist()):
        real = x[b] if mask_bl is None else x[b][mask_bl[b]]
        kept = torch.cat([real[: len(real) - forget], tokens(length=9, width=x.shape[-1], seed=5)[b]])
        assert_same(got[b], module(kept[None])[0][0, -9:], f"{what}: what follows after row {b} forgot {forget} tokens")


def _everything_can_be_forgotten(module: nn.Module, x: Tensor, what: str) -> None:
    _, state = module(x[:, :7])
    got, _ = module(x, state.trim(torch.tensor([7, 7])))
    assert_same(got, module(x)[0], f"{what}: what follows a state trimmed to nothing")
