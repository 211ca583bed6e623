"""Options that only set what weights start as: parts declare theirs, and a conversion tells where they are idle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from formers.catalogue import CATALOGUE
from formers.computation import Computation
from formers.ffn import Ffn
from formers.memory import Memorizing, Memory, NoMemory
from formers.mixers import AdaptiveSpan, FeatureMap, Fourier, Linear, Mixer, Rfa, Softmax
from formers.models import Conversion, Transformer, TransformerConfig, convert_weights
from formers.part import Part
from formers.positions import Learned
from formers.residuals import Residual
from formers.testing.harness import SITE, directions
from formers.testing.hosts import HOSTS, axis_of
from formers.testing.laws.options import values_beside

PARTS = [kind() for kind in CATALOGUE if kind is not NoMemory] + [AdaptiveSpan(dynamic=True), Fourier(gain=1.0)]
STARTING = [(part, option) for part in PARTS for option in part.starts if getattr(part, option) is not None]
STARTING += [
    (part.swap(**{option: 0.5}), option) for part in PARTS for option in part.starts if (part, option) not in STARTING
]
SIZES = {"vocab_size": 11, "width": 24, "heads": 3, "depth": 2, "context_length": 64}
AXES = {Mixer: "mixer", Memory: "memory", Residual: "residual", Ffn: "ffn", Computation: "computation"}


def started(part: Part) -> dict[str, Tensor] | None:
    """Return the weights and buffers that a part starts with; None where it cannot be built."""
    try:
        module = HOSTS[axis_of(part)](part, replace(SITE, causal=directions(part)[0]))
    except (TypeError, ValueError):
        return None
    for owner in reversed([*module.modules()]):
        torch.manual_seed(0)
        if callable(start := getattr(owner, "reset_parameters", None)):
            start()
        if callable(start := getattr(owner, "init_weights", None)):
            start(0.02)
    return dict(module.state_dict())


def moved(part: Part, option: str) -> Iterator[str]:
    """Yield the names of the weights that start otherwise where an option is another, in a module of the same shape."""
    found = [
        state
        for value in (getattr(part, option), *values_beside(part, option))
        if (state := swapped(part, option, value))
    ]
    for a, b in pairwise(found):
        if {name: x.shape for name, x in a.items()} == {name: x.shape for name, x in b.items()}:
            yield from (name for name in a if not torch.equal(a[name], b[name]))


def swapped(part: Part, option: str, value: Any) -> dict[str, Tensor] | None:
    try:
        return started(part.swap(**{option: value}))
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("part", PARTS, ids=str)
def test_parts_declare_the_options_that_only_set_a_start(part: Part) -> None:
    for field in fields(part):  # type: ignore[arg-type]
        if isinstance(getattr(part, field.name), Part):
            continue  # another part starts in its own way
        names = {name for name in moved(part, field.name) if not name.endswith("directions.left")}
        ends = part.starts.get(field.name, ())
        assert bool(names) == bool(ends), f"{part}: {field.name} moves {names}, and {ends} is declared"
        assert all(name.endswith(ends) for name in names), (names, ends)


def converted(part: Part, option: str, **more: Any) -> tuple[Any, Conversion, list[str]]:
    """Return the new configuration, the conversion to another value of an option, and what was said."""
    value = next(v for v in values_beside(part, option) if v is not None and swapped(part, option, v))
    if isinstance(part, FeatureMap):
        before, after = ({"mixer": Linear(feature=one)} for one in (part, part.swap(**{option: value})))
    else:
        before, after = ({AXES[axis_of(part)]: one} for one in (part, part.swap(**{option: value})))
    config = TransformerConfig(
        **SIZES | before, position=Learned(), causal=directions(part)[-1] if isinstance(part, Mixer) else True
    )
    model = Transformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = convert_weights(model, config.swap(**after), **more)
    return config.swap(**after), made, [str(one.message) for one in said]


@pytest.mark.parametrize(("part", "option"), STARTING, ids=str)
def test_a_conversion_tells_of_an_option_that_a_kept_weight_leaves_without_effect(part: Part, option: str) -> None:
    if isinstance(part, Residual | Ffn | Computation):
        with pytest.raises(ValueError, match=r"start from model\.config\.swap"):
            converted(part, option)
        return
    config, made, said = converted(part, option)
    assert len(said) == len(made.idle) == 1
    assert f"no effect: {option}=" in said[0]
    assert "fresh=[" in said[0]
    ends = part.starts[option]
    _, anew, said = converted(part, option, fresh=[end for end in ends if end in said[0]], strict=True)
    assert said == []
    assert anew.idle == ()
    torch.manual_seed(0)
    new = Transformer(config).state_dict()
    for name, weight in anew.model.state_dict().items():
        if name.endswith(ends) and not name.endswith(("q_proj.weight", "w_mk")):  # those are drawn
            torch.testing.assert_close(weight, new[name])


def test_the_same_option_and_a_new_weight_are_silent() -> None:
    config = TransformerConfig(**SIZES, memory=Memorizing(gate=0.1), causal=True)
    model = Transformer(config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert convert_weights(model, config.swap(memory=Memorizing(gate=0.1, size=9))).idle == ()
    plain = Transformer(config.swap(memory=NoMemory()))
    with pytest.warns(UserWarning, match="new, as at the start"):
        assert convert_weights(plain, config).idle == ()


def test_a_start_that_no_weight_has_is_refused() -> None:
    model = Transformer(TransformerConfig(**SIZES, mixer=Softmax()))
    with pytest.raises(ValueError, match="fresh='gate_h' is the end of no weight's name"):
        convert_weights(model, model.config, fresh=["gate_h"])


def test_directions_are_drawn_no_later_than_the_new_redraw_says() -> None:
    config = TransformerConfig(**SIZES, mixer=Rfa(redraw=500))
    made = convert_weights(Transformer(config), config.swap(mixer=Rfa(redraw=3)))
    assert made.model.layers[0].mixer.feature.directions.left == 3
    assert "500 steps to the next draw made 3" in str(made)
