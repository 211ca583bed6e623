"""Options that only set what weights start as: parts declare theirs, and a conversion tells where they are idle."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM

from formers import CausalLM
from formers.catalogue import CATALOGUE
from formers.computation import Act, Computation
from formers.ffn import Ffn, Mlp
from formers.memory import Memorizing, Memory, NoMemory
from formers.mixers import AdaptiveSpan, FeatureMap, Fourier, Linear, Mixer, Rfa, Softmax
from formers.models import Conversion, Transformer, TransformerConfig, convert_weights
from formers.models.weight_names import named_by
from formers.part import Part
from formers.positions import Learned
from formers.residuals import Gated, PostNorm, PreNorm, Residual
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
    for name in (name for end in ends for name in named_by(end, new)):
        if not name.endswith(("_proj.weight", "w_mk")):  # those are drawn
            torch.testing.assert_close(anew.model.state_dict()[name], new[name])


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (Mlp(), Mlp(init=1.0, expand=2.0)),
        (Gated(bias=1.0), Gated(bias=2.0, gate="highway")),
        (Act(bias=0.5), Act(bias=1.0, epsilon=0.1)),
        (PreNorm(depth_scaled=True), PostNorm()),
    ],
    ids=str,
)
def test_what_changes_more_than_a_start_is_still_refused(part: Part, other: Part) -> None:
    config = TransformerConfig(**SIZES, **{AXES[axis_of(part)]: part})
    with pytest.raises(ValueError, match=r"start from model\.config\.swap"):
        convert_weights(Transformer(config), config.swap(**{AXES[axis_of(part)]: other}))


CHANGED = {"residual": "gated(bias=5.0)", "memory": "memorizing(gate=0.3)"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    parts = {"residual": Gated(bias=1.0), "memory": Memorizing(gate=0.1), "ffn": Mlp(init=1.0)}
    where = tmp_path_factory.mktemp("saved")
    CausalLM(TransformerConfig(**SIZES, **parts)).save_pretrained(where)
    return where


@pytest.mark.parametrize("loader", [CausalLM, AutoModelForCausalLM, AutoModel], ids=lambda loader: loader.__name__)
def test_loading_tells_of_options_that_loaded_weights_leave_without_effect(folder: Any, loader: Any) -> None:
    with pytest.warns(
        UserWarning, match=r"(?s)bias=5\.0 of gated .*gate=0\.3 of memorizing .*fresh=\['gate_h'\]"
    ) as said:
        model = loader.from_pretrained(folder, **CHANGED)
    assert said[0].filename == __file__
    config = TransformerConfig.from_pretrained(folder, **CHANGED)
    with pytest.warns(UserWarning, match="loaded with other options"):
        loader.from_pretrained(folder, config=config)
    anew = convert_weights(model, model.config, fresh=["mixer_gate.bias", "ffn_gate.bias", "gate_h"], strict=True).model
    assert float(anew.base_model.layers[0].mixer_gate.bias.detach()[0]) == 5.0


def test_loading_without_changes_with_some_that_count_or_for_weights_that_are_new_is_silent(folder: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = CausalLM.from_pretrained(folder)
        CausalLM.from_pretrained(folder, memory=Memorizing(gate=0.1, size=9), dropout=0.1)
        CausalLM.from_pretrained(folder, config=model.config)
        CausalLM.from_pretrained(None, config=model.config.swap(**CHANGED), state_dict=model.state_dict())


def test_weights_beside_no_configuration_load_with_a_given_one(folder: Any, tmp_path: Any) -> None:
    for name in ("model.safetensors", "generation_config.json"):
        shutil.copy(folder / name, tmp_path)
    config = TransformerConfig.from_pretrained(folder, **CHANGED)
    assert CausalLM.from_pretrained(tmp_path, config=config).config.residual == Gated(bias=5.0)


@pytest.mark.parametrize(("end", "meant"), [("gate_h", [0]), ("mixer.gate_h", [0]), ("a.mixer.gate_h", [0]), ("h", [])])
def test_an_end_is_whole_names(end: str, meant: list[int]) -> None:
    names = ["a.mixer.gate_h", "a.mixer.big_gate_h"]
    assert named_by(end, names) == [names[i] for i in meant]


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
