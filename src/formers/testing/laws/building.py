"""Law 17: a part is the same wherever it is built.

Large models are built on the meta device, where tensors have shapes and no values, and then filled; small dtypes are
often set as the default before anything is built.

Inputs: the meta device, where the part runs forward and backward in both modes before it is filled by `load_state_dict`
or by `init_weights`; and bfloat16 as the default dtype.

Exempt: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from formers.part import Part, Site
from formers.testing.compare import assert_finite, assert_zero
from formers.testing.harness import LENGTH, SITE, build, directions, seed_cpu, tokens
from formers.testing.hosts import HOSTS, axis_of

_SPOILED = 123456789
"""What integers hold before they are filled."""


def materialises_from_meta(part: Part, site: Site = SITE) -> None:
    """Built on the meta device a part runs there, in training too, and filled from a state dict or by `init_weights` it
    is whole."""
    for causal in directions(part):
        module = _on_meta(part, causal, site)
        off = [name for name, tensor in module.state_dict(keep_vars=True).items() if not tensor.is_meta]
        assert not off, f"{part}: built on the meta device, {', '.join(off)} lies elsewhere"
        for training in (True, False):
            _runs_without_data(module.train(training), site.width, f"{part} in {'train' if training else 'eval'} mode")
        _loads_into(
            _emptied(part, causal, site),
            build(part, causal=causal, site=site, dtype=torch.float32),
            site.width,
            f"{part}",
        )
        _starts_anew(_emptied(part, causal, site), site.width, f"{part}")


def builds_in_bfloat16(part: Part, site: Site = SITE) -> None:
    """Built while bfloat16 is the default, a part has the dtypes of one that was made so later, and gives the same."""
    x = tokens(width=site.width, dtype=torch.bfloat16)
    for causal in directions(part):
        with _default_dtype(torch.bfloat16):
            module = _built(part, causal, site).eval()
        later = build(part, causal=causal, site=site, dtype=torch.bfloat16)
        want = {name: tensor.dtype for name, tensor in later.state_dict().items()}
        found = {name: tensor.dtype for name, tensor in module.state_dict().items()}
        assert found == want, f"{part}: built in bfloat16 it holds {found}, made so later {want}"
        for name, tensor in module.state_dict().items():
            assert_finite(tensor, f"{part} built in bfloat16: {name}")
        module.load_state_dict(later.state_dict())
        with torch.no_grad():
            assert_zero(module(x)[0] - later(x)[0], f"{part}: difference that building in bfloat16 makes")


def _built(part: Part, causal: bool, site: Site) -> nn.Module:
    """Return the part in its host as a model builds it: with the start that it gives itself."""
    with torch.random.fork_rng(devices=[]):
        seed_cpu(0)
        return HOSTS[axis_of(part)](part, replace(site, causal=causal))


def _runs_without_data(module: nn.Module, width: int, what: str) -> None:
    x = torch.empty(2, LENGTH, width, device="meta", requires_grad=True)
    y, _ = module(x)
    assert y.is_meta, f"{what}: the output of a meta tensor lies on {y.device}"
    assert y.shape[:2] == x.shape[:2], f"{what}: on the meta device the output has shape {tuple(y.shape)}"
    y.sum().backward()
    module.zero_grad()


def _on_meta(part: Part, causal: bool, site: Site) -> nn.Module:
    with torch.device("meta"):
        return _built(part, causal, site)


@torch.no_grad()
def _emptied(part: Part, causal: bool, site: Site) -> nn.Module:
    """Return the part, built on the meta device, on the CPU, in eval mode, with tensors that hold what must not be
    kept."""
    empty = _on_meta(part, causal, site).to_empty(device="cpu").eval()
    for tensor in _tensors_of(empty):
        tensor.fill_(torch.nan if tensor.is_floating_point() else _SPOILED)
    return empty


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


@torch.no_grad()
def _loads_into(empty: nn.Module, real: nn.Module, width: int, what: str) -> None:
    x = tokens(width=width, dtype=torch.float32)
    empty.load_state_dict(real.state_dict())
    assert_zero(empty(x)[0] - real(x)[0], f"{what}: difference between a part and one filled from its state dict")


@torch.no_grad()
def _starts_anew(empty: nn.Module, width: int, what: str) -> None:
    for owner in empty.modules():
        start = getattr(owner, "init_weights", None)
        if callable(start):
            start(0.02)
        elif callable(reset := getattr(owner, "reset_parameters", None)):
            reset()
    for name, tensor in empty.state_dict().items():
        kept = tensor.isnan() if tensor.is_floating_point() else tensor == _SPOILED
        assert not kept.any(), f"{what}: init_weights leaves {int(kept.sum())} values of {name} as they were"
    assert_finite(empty(tokens(width=width, dtype=torch.float32))[0], f"{what}: output after init_weights")


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
