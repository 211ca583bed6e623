"""Configurations: what they take, what they refuse, and that they come back equal."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from formers import CausalLM, MaskedLM, SequenceClassifier, TokenClassifier, Transformer, TransformerConfig, Unsupported
from formers.catalogue import members
from formers.ffn import Glu
from formers.mixers import Linear, Mixer, Pool, Softmax, SquaredRelu, Taylor2
from formers.models.config import AXIS_OF
from formers.norms import Hardtanh, LayerNorm, NoNorm, RmsNorm
from formers.positions import Alibi, Learned, NoPosition, Rotary, Sinusoidal
from formers.residuals import Danet

CHOICES: dict[str, Any] = {
    "mixer": (Linear(feature=Taylor2(), normalize=False), Softmax(kv_heads=1), Pool(window=5)),
    "position": Rotary(scaling="yarn", factor=4),
    "residual": Danet(),
    "norm": RmsNorm(eps=1e-3),
    "ffn": Glu(activation="gelu"),
}


def test_parts_from_text_json_and_python(config: Any) -> None:
    python = config(**CHOICES)
    text = config(**{axis: [str(m) for m in part] if axis == "mixer" else str(part) for axis, part in CHOICES.items()})
    data = config(
        **{axis: [m.to_json() for m in part] if axis == "mixer" else part.to_json() for axis, part in CHOICES.items()}
    )
    for other in (text, data):
        assert all(getattr(other, axis) == getattr(python, axis) for axis in AXIS_OF)


def test_config_json_comes_back_equal(config: Any, tmp_path: Any) -> None:
    saved = config(causal=True, dropout=0.1, pad_token_id=3, **CHOICES)
    saved.save_pretrained(tmp_path)
    loaded = TransformerConfig.from_pretrained(tmp_path)
    for name in TransformerConfig.own_names():
        assert getattr(loaded, name) == getattr(saved, name), name
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["mixer"][0] == {"part": "linear", "feature": {"part": "taylor2"}, "normalize": False}
    assert raw["position"]["base"] == 10000.0, (
        "defaults are written too, so that a saved model outlives a changed default"
    )


def test_norms_at_both_ends_may_be_none(config: Any, tmp_path: Any) -> None:
    plain = config()
    assert (plain.embedding_norm, plain.final_norm, plain.norm_at_end()) == (None, None, LayerNorm())
    assert config(residual="post_norm").norm_at_end() == NoNorm()
    assert not {"embedding_norm", "final_norm"} & (plain.to_dict().keys() | plain.choices().keys())
    both = config(embedding_norm="hardtanh", final_norm={"part": "none"})
    assert (both.embedding_norm, both.norm_at_end()) == (Hardtanh(), NoNorm())
    assert both.choices()["embedding_norm"] == "hardtanh()"
    both.save_pretrained(tmp_path)
    loaded = TransformerConfig.from_pretrained(tmp_path)
    assert (loaded.embedding_norm, loaded.final_norm) == (Hardtanh(), NoNorm())
    assert both.swap(final_norm=None).norm_at_end() == LayerNorm()
    with pytest.raises(ValueError, match="there is no norm 'layernom'; did you mean 'layer_norm'"):
        config(final_norm="layernom")


def test_a_norm_behind_the_embedding_comes_after_the_position(config: Any) -> None:
    model = Transformer(config(embedding_norm="hardtanh", position="sinusoidal", depth=1, causal=False))
    entered = []
    model.layers[0].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    model(torch.arange(8)[None])
    assert entered[0].abs().max() == 1
    assert entered[0].abs().min() < 1


@pytest.mark.parametrize(("wrong", "right"), [("mixr", "mixer"), ("contextlength", "context_length"), ("hed", "heads")])
def test_unknown_names_raise_with_the_nearest(config: Any, wrong: str, right: str) -> None:
    with pytest.raises(TypeError, match=f"no option '{wrong}'; did you mean '{right}'"):
        config(**{wrong: 1})
    with pytest.raises(TypeError, match=f"did you mean '{right}'"):
        config().swap(**{wrong: 1})


def test_unknown_parts_raise_with_the_nearest(config: Any) -> None:
    with pytest.raises(ValueError, match="there is no mixer 'softmx'; did you mean 'softmax'"):
        config(mixer="softmx()")
    with pytest.raises(TypeError, match="mixer must be one of"):
        config(mixer=3)
    with pytest.raises(TypeError, match=r"write Softmax\(\)"):
        config(mixer=Softmax)
    with pytest.raises(TypeError, match="mixer must be one of"):
        config(mixer=[])
    with pytest.raises(TypeError, match="position must be one of"):
        config(position=[Rotary()])
    for nested in ([["softmax"]], ["softmax", ["linear"]]):
        with pytest.raises(TypeError, match="mixer must be one of"):
            config(mixer=nested)


def test_a_part_is_set_in_any_form(config: Any, tmp_path: Any) -> None:
    changed = config()
    changed.mixer = ["linear()", {"part": "pool"}]
    assert changed.mixer == (Linear(), Pool())
    config().save_pretrained(tmp_path)
    assert TransformerConfig.from_pretrained(tmp_path, position="alibi()").position == Alibi()
    with pytest.raises(ValueError, match="did you mean 'softmax'"):
        changed.mixer = "softmx()"


WRONG: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("vocab_size", "width", "depth", "heads", "context_length", "num_labels")
        for value in (0, -1, 2.5, True, "3", None)
    ),
    *(("dropout", value) for value in (-0.1, 1.1, float("nan"), "0.1", None, True)),
    *(("initializer_range", value) for value in (-1, float("nan"), "", float("1e309"), None)),
    *((name, value) for name in ("tie_word_embeddings", "use_cache") for value in ("false", 0, None)),
    *((name, "false") for name in ("causal", "output_hidden_states", "return_dict", "output_attentions")),
    *((name, value) for name in ("pad_token_id", "bos_token_id", "eos_token_id") for value in (-1, "x", 1.0)),
    ("eos_token_id", [1, -1]),
    ("eos_token_id", ["x"]),
    ("problem_type", "ranking"),
    ("id2label", {}),
    ("id2label", {1: "a"}),
    ("id2label", ["a"]),
    ("label2id", ["a"]),
    ("dtype", "floatish"),
    ("dtype", "nn"),
    ("architectures", "CausalLM"),
    ("is_encoder_decoder", True),
    ("chunk_size_feed_forward", 2),
    ("output_attentions", True),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=str)
def test_every_option_is_checked_on_every_way_in(config: Any, name: str, value: Any, tmp_path: Any) -> None:
    config().save_pretrained(tmp_path)
    saved = tmp_path / "config.json"
    for way in (
        lambda: config(**{name: value}),
        lambda: config().swap(**{name: value}),
        lambda: setattr(config(), name, value),
        lambda: config().update({name: value}),
        lambda: TransformerConfig.from_pretrained(tmp_path, **{name: value}),
        lambda: (
            saved.write_text(json.dumps(json.loads(saved.read_text()) | {name: value})),
            TransformerConfig.from_pretrained(tmp_path),
        ),
    ):
        with pytest.raises(ValueError, match=f"^{name}.*(must be|has no effect)"):
            way()


def test_swap_changes_what_it_says_alone(config: Any) -> None:
    before = config(**CHOICES)
    after = before.swap(position=Alibi(), width=48)
    changed = {name for name in TransformerConfig.own_names() if getattr(after, name) != getattr(before, name)}
    assert changed == {"position", "width"}
    assert before.width == 24


def test_copies_keep_everything_that_was_set(config: Any) -> None:
    given = {
        "problem_type": "multi_label_classification",
        "id2label": {0: "cat", 1: "dog", 2: "owl"},
        "label2id": {"cat": 0, "dog": 1, "owl": 2},
        "output_hidden_states": True,
        "return_dict": False,
        "dtype": torch.bfloat16,
        "architectures": ["CausalLM"],
        "name_or_path": "here",
        "pad_token_id": 3,
    }
    before = config(**given)
    after = before.swap(width=48)
    for name, value in given.items():
        assert getattr(after, name) == value, name
    assert after.to_dict() == before.to_dict() | {"width": 48, "hidden_size": 48}
    after.id2label[0] = "bird"
    assert before.id2label[0] == "cat"
    assert before.swap(output_hidden_states=False).output_hidden_states is False
    assert SequenceClassifier(before).config.problem_type == "multi_label_classification"


def test_labels_have_one_number(config: Any, tmp_path: Any) -> None:
    names = {0: "cat", 1: "dog", 2: "owl"}
    before = config(id2label=names, label2id={"cat": 0, "dog": 1, "owl": 2})
    assert before.swap(num_labels=5).id2label == {i: f"LABEL_{i}" for i in range(5)}
    other = before.swap(id2label={"0": "yes", "1": "no"})
    assert (other.num_labels, other.label2id) == (2, {"yes": 0, "no": 1})
    before.save_pretrained(tmp_path)
    assert TransformerConfig.from_pretrained(tmp_path).id2label == names
    assert TransformerConfig.from_pretrained(tmp_path, num_labels=5).num_labels == 5
    loaded = TransformerConfig.from_pretrained(tmp_path, num_labels=2, id2label={0: "yes", 1: "no"})
    assert (loaded.num_labels, loaded.label2id) == (2, {"yes": 0, "no": 1})
    for way in (config, before.swap, lambda **options: TransformerConfig.from_pretrained(tmp_path, **options)):
        with pytest.raises(ValueError, match="num_labels=4 was given, but id2label names 3 labels"):
            way(num_labels=4, id2label=names)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1}},
        {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}},
        {"num_labels": 2, "label2id": {"a": 0, "b": 1, "c": 2}},
        {"label2id": {"a": 0, "b": 2}},
        {"label2id": {"a": "0"}},
        {"label2id": {}},
        {"id2label": {0: 7}},
    ],
    ids=str,
)
def test_labels_that_contradict_each_other_are_refused(wrong: Any, config: Any, tmp_path: Any) -> None:
    config(num_labels=4).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(json.dumps(json.loads(text) | {"id2label": None, "label2id": None} | wrong))
    for way in (config, config().swap, lambda **_: TransformerConfig.from_pretrained(tmp_path)):
        with pytest.raises(ValueError, match="label"):
            way(**wrong)


def test_names_and_numbers_of_labels_are_in_step(config: Any) -> None:
    names, numbers = {0: "cat", 1: "dog", 2: "owl"}, {"cat": 0, "dog": 1, "owl": 2}
    for options in ({"id2label": names}, {"label2id": numbers}, {"id2label": {str(i): n for i, n in names.items()}}):
        set_later = config()
        for name, value in options.items():
            setattr(set_later, name, value)
        for one in (
            config(**options),
            config().swap(**options),
            TransformerConfig.from_dict(config().to_dict(), **options),
            set_later,
        ):
            assert (one.num_labels, one.id2label, one.label2id) == (3, names, numbers)
    unnamed = config(id2label=names)
    unnamed.id2label = None
    assert (unnamed.num_labels, unnamed.label2id) == (2, {"LABEL_0": 0, "LABEL_1": 1})


@pytest.mark.parametrize(
    "options",
    [
        {"eos_token_id": (1, 2)},
        {"architectures": ("CausalLM",)},
        {"id2label": {"0": "a", "1": "b", "2": "c"}},
        {"label2id": {"b": 1, "a": 0}},
        {"id2label": {0: "same", 1: "same"}},
    ],
    ids=str,
)
def test_what_was_set_is_what_json_brings_back(options: Any, config: Any, tmp_path: Any) -> None:
    before = config(**options)
    before.save_pretrained(tmp_path)
    after = TransformerConfig.from_pretrained(tmp_path)
    assert after.to_dict() == before.to_dict()
    for name in options:
        assert getattr(after, name) == getattr(before, name)


@pytest.mark.parametrize("name", ["vocab_size", "width", "depth", "heads", "context_length", "num_labels"])
def test_sizes_that_nobody_means_are_refused(name: str, config: Any) -> None:
    for size in (10**12, 2**62, 2**63, 10**30):
        for way in (config, config().swap):
            with pytest.raises(ValueError, match=f"{name} must be a whole number from 1 to"):
                way(**{name: size})


def test_a_cycle_of_mixers_goes_round_the_layers(config: Any) -> None:
    model = Transformer(config(depth=5, mixer=["softmax()", "pool()"], position="none", causal=True))
    kinds = [type(layer.mixer).__name__ for layer in model.layers]
    assert kinds == ["SoftmaxMixer", "PoolMixer", "SoftmaxMixer", "PoolMixer", "SoftmaxMixer"]


def test_the_head_decides_the_direction(config: Any) -> None:
    assert CausalLM(config()).config.causal is True
    for head in (MaskedLM, SequenceClassifier, TokenClassifier):
        assert head(config()).config.causal is False
    assert SequenceClassifier(config(causal=True)).config.causal is True
    with pytest.raises(ValueError, match="CausalLM needs causal=True"):
        CausalLM(config(causal=False))
    with pytest.raises(ValueError, match="MaskedLM needs causal=False"):
        MaskedLM(config(causal=True))


def test_fourier_cannot_be_causal(config: Any) -> None:
    with pytest.raises(Unsupported, match=r"fourier\(\) cannot be causal.*masked language model or a classifier"):
        CausalLM(config(mixer="fourier()", position="none"))
    MaskedLM(config(mixer="fourier()", position="none"))


@pytest.mark.parametrize("mixer", [kind() for kind in members(Mixer)], ids=str)
def test_positions_on_scores_need_scores(config: Any, mixer: Mixer) -> None:
    head = MaskedLM if "bidirectional" in mixer.abilities else CausalLM
    if "score_position" in mixer.abilities:
        head(config(mixer=mixer, position=Alibi()))
    else:
        with pytest.raises(Unsupported, match=r"cannot take position alibi\(\)"):
            head(config(mixer=mixer, position=Alibi()))


def test_a_concatenated_position_unties_the_embedding(config: Any) -> None:
    part = Sinusoidal(how="concatenate")
    with pytest.raises(ValueError, match="tie_word_embeddings=False"):
        MaskedLM(config(position=part))
    model = MaskedLM(config(position=part, tie_word_embeddings=False))
    assert model.model.embed_tokens.embedding_dim == 12


def test_learned_positions_end_at_the_context_length(config: Any) -> None:
    model = Transformer(config(position=Learned(), context_length=8))
    model(input_ids=torch.zeros(1, 8, dtype=torch.long))
    with pytest.raises(ValueError, match="knows 8 positions, but position 8 was asked for"):
        model(input_ids=torch.zeros(1, 9, dtype=torch.long))


def test_nested_features_are_told_apart(config: Any) -> None:
    one, two = (config(mixer=Linear(feature=f), position=NoPosition()) for f in (SquaredRelu(), Taylor2()))
    assert one.choices() != two.choices()
    assert one.choices()["mixer"] == "linear(feature=squared_relu())"
