"""A model of another mixer that starts from the weights of a dense one."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch

from formers.catalogue import CATALOGUE
from formers.mixers import Mixer
from formers.models import (
    CausalLM,
    MaskedLM,
    PixelConfig,
    Seq2SeqConfig,
    Seq2SeqLM,
    SequenceClassifier,
    Transformer,
    TransformerConfig,
    convert_weights,
)
from formers.part import Unsupported

SIZES = {"vocab_size": 11, "width": 24, "heads": 3, "depth": 2, "context_length": 64}
IDS = torch.randint(11, (2, 60), generator=torch.Generator().manual_seed(0))


def dense(kind: Any = MaskedLM, **choices: Any) -> Any:
    """A softmax model with weights away from their start."""
    torch.manual_seed(0)
    model = kind(TransformerConfig(**SIZES | choices)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


COVERING = [
    "longformer(window=[64])",
    "longformer(window=[64], tokens=[0, 7])",
    "longformer(window=[64], tokens=[])",
    "bigbird(block=64, random=0)",
    "sparse(pattern=window(64) | global(0))",
    "sparse(pattern=every())",
    "blockwise_attention(blocks=1)",
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mixer", COVERING)
@pytest.mark.parametrize("position", ["learned()", "rotary()", "alibi()"])
@torch.no_grad()
def test_a_window_of_everything_changes_nothing(mixer: str, position: str) -> None:
    model = dense(position=position)
    made = convert_weights(model, model.config.swap(mixer=mixer))
    assert type(made.model) is MaskedLM
    assert not made.model.training
    torch.testing.assert_close(made.model(IDS).logits, model(IDS).logits)
    assert made.fresh == made.left == ()
    assert made.caveats == ""


@pytest.mark.parametrize(
    "mixer", ["longformer(window=[64])", "bigbird(block=64, random=0)", ["softmax()", "sparse(pattern=window(64))"]]
)
@torch.no_grad()
def test_causal_models_too(mixer: Any) -> None:
    model = dense(CausalLM)
    made = convert_weights(model, model.config.swap(mixer=mixer)).model
    torch.testing.assert_close(made(IDS).logits, model(IDS).logits)


def test_global_projections_start_as_copies_and_go_their_own_way() -> None:
    model = dense(mixer="softmax(bias=True)")
    made = convert_weights(model, model.config.swap(mixer="longformer(bias=True)"))
    mixer = made.model.model.layers[1].mixer
    assert torch.equal(mixer.k_proj_global.weight, model.model.layers[1].mixer.k_proj.weight)
    assert torch.equal(mixer.k_proj_global.bias, model.model.layers[1].mixer.k_proj.bias)
    assert mixer.k_proj_global.weight.data_ptr() != mixer.k_proj.weight.data_ptr()
    assert made.derived["model.layers.1.mixer.k_proj_global.bias"] == "from model.layers.1.mixer.k_proj.bias"
    assert len(made.derived) == 2 * 6
    before = model.model.layers[1].mixer.k_proj.weight.clone()
    made.model.train()(IDS, labels=IDS).loss.backward()
    torch.optim.SGD(made.model.parameters(), 0.1).step()
    assert not torch.equal(mixer.k_proj_global.weight, mixer.k_proj.weight)
    assert torch.equal(model.model.layers[1].mixer.k_proj.weight, before), "the given model stays as it is"


@torch.no_grad()
def test_learned_positions_are_repeated() -> None:
    model = dense(position="learned()")
    made = convert_weights(model, model.config.swap(mixer="longformer(window=[64])", context_length=256))
    table = made.model.model.input_position.table.weight
    assert table.shape == (256, 24)
    assert torch.equal(table.unflatten(0, (4, 64)), model.model.input_position.table.weight.expand(4, -1, -1))
    assert made.derived["model.input_position.table.weight"] == "64 positions repeated to 256"
    torch.testing.assert_close(made.model(IDS).logits, model(IDS).logits)
    assert made.model(torch.cat([IDS] * 4, 1)).logits.isfinite().all()
    shorter = convert_weights(model, model.config.swap(context_length=20)).model
    torch.testing.assert_close(shorter(IDS[:, :20]).logits, model(IDS[:, :20]).logits)


@torch.no_grad()
def test_learned_positions_are_stretched_on_request() -> None:
    model = dense(position="learned(offset=2)")
    longer = model.config.swap(context_length=127)
    made = convert_weights(model, longer, extension="interpolate")
    old, new = (one.model.input_position.table.weight for one in (model, made.model))
    assert made.derived["model.input_position.table.weight"] == "64 positions stretched to 127"
    assert torch.equal(new[:2], old[:2]), "rows that nothing uses stay in front"
    torch.testing.assert_close(new[2::2], old[2:])
    torch.testing.assert_close(new[3::2], (old[2:-1] + old[3:]) / 2)
    repeated = convert_weights(model, longer).model.model.input_position.table.weight
    assert torch.equal(repeated[2 + 64 :], old[2 : 2 + 63])
    torch.testing.assert_close(convert_weights(model, longer).model(IDS).logits, model(IDS).logits)
    with pytest.raises(ValueError, match=r"given model has learned\(offset=2\), and 0 was asked for"):
        convert_weights(model, model.config.swap(position="learned()"))


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_shared_heads_are_repeated_for_a_mixer_that_cannot_share(bias: bool) -> None:
    model = dense(CausalLM, mixer=f"softmax(kv_heads=1, bias={bias})")
    made = convert_weights(model, model.config.swap(mixer=f"bigbird(block=64, random=0, bias={bias})"), strict=True)
    torch.testing.assert_close(made.model(IDS).logits, model(IDS).logits)
    assert made.derived["model.layers.1.mixer.v_proj.weight"] == "1 heads repeated to 3"


def test_the_report_names_what_has_no_counterpart(tmp_path: Any) -> None:
    model = dense(SequenceClassifier).float()
    with pytest.warns(UserWarning, match=r"2 tensors: model\.layers\.\*\.mixer\.labels\.key_hkc \(2\)"):
        made = convert_weights(model, model.config.swap(mixer="etc(tokens=2)"))
    assert made.fresh == tuple(f"model.layers.{i}.mixer.labels.key_hkc" for i in range(2))
    assert "fresh model.layers.*.mixer.labels.key_hkc (layers 0-1)" in str(made)
    with pytest.warns(UserWarning, match=r"dropped .* 2 tensors: model\.layers\.\*\.mixer\.k_proj\.weight \(2\)"):
        hashed = convert_weights(model, model.config.swap(mixer="lsh(buckets=4)"))
    assert hashed.left == tuple(f"model.layers.{i}.mixer.k_proj.weight" for i in range(2))
    assert "left out model.layers.*.mixer.k_proj.weight (layers 0-1)" in str(hashed)
    assert repr(hashed) == str(hashed), "it prints itself"
    assert len(made.copied) + len(made.derived) + len(made.fresh) == len(made.model.state_dict())
    made.model.save_pretrained(tmp_path)
    again = SequenceClassifier.from_pretrained(tmp_path).eval()
    assert torch.equal(again(IDS).logits, made.model(IDS).logits)


MIXERS = [kind() for kind in CATALOGUE if issubclass(kind, Mixer)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_all_that_is_new_or_dropped_is_said_aloud(mixer: Mixer, bias: bool) -> None:
    """Whatever the mixer, a conversion is whole, warns with every name, or raises, and strict ones raise for all."""
    kind = MaskedLM if "bidirectional" in mixer.abilities else CausalLM
    model = dense(kind, position="none()", mixer=f"softmax(bias={bias})")
    config = model.config.swap(mixer=mixer)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            made = convert_weights(model, config)
        except ValueError:
            assert not heard
            return
    missed = made.fresh + made.left
    assert bool(heard) == bool(missed) == bool(made.caveats)
    said = "".join(str(warning.message) for warning in heard)
    assert all(re.sub(r"(?<=layers\.)\d+", "*", name) in said for name in missed)
    if bias:
        assert "8 of them biases" in said or "8 biases" in said or "10 of them biases" in said
    if not missed:
        assert convert_weights(model, config, strict=True).caveats == ""
        return
    with pytest.raises(ValueError, match=r"MaskedLM is not converted whole:|CausalLM is not converted whole:"):
        convert_weights(model, config, strict=True)


def test_dropped_biases_name_the_option_that_keeps_them() -> None:
    model = dense(mixer="softmax(bias=True)")
    with pytest.warns(UserWarning, match=r"(?s)dropped from the given model: 8 biases.*kept by sparse\(bias=True\)"):
        convert_weights(model, model.config.swap(mixer="sparse()"))
    assert convert_weights(model, model.config.swap(mixer="sparse(bias=True)"), strict=True).left == ()


def test_a_mixer_that_is_mostly_new_says_how_much() -> None:
    model = dense(CausalLM, position="none()")
    with pytest.warns(UserWarning, match=r"(?s)5\d % of metric\(\) is new\n.*p_proj\.weight \(2\)"):
        made = convert_weights(model, model.config.swap(mixer="metric()"))
    assert str(made).splitlines()[-1].endswith("% of metric() is new")


def test_dtype_device_and_mode_are_kept() -> None:
    model = dense(Transformer).to(torch.bfloat16).train()
    made = convert_weights(model, model.config.swap(mixer="sparse()")).model
    assert made.dtype == torch.bfloat16
    assert made.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 48}, r"given model has width=24, but the new configuration width=48; start from model.config.swap"),
        ({"depth": 3}, "depth"),
        ({"heads": 4}, "heads"),
        ({"norm": "rms_norm()"}, "norm"),
        ({"residual": "danet()"}, "residual"),
        ({"ffn": "glu()"}, "ffn"),
        ({"embedding_norm": "rms_norm()"}, "embedding_norm=None, but the new configuration embedding_norm=rms_norm"),
        (
            {"final_norm": "layer_norm(eps=0.1)"},
            r"layer_norm\(\) behind its last layer, .* leave out final_norm=layer_norm",
        ),
        ({"causal": True}, "causal"),
        ({"position": "learned()"}, "another kind"),
        (
            {"mixer": "sparse(kv_heads=1)"},
            r"k_proj.weight has shape \(24, 24\) in the given model, but \(8, 24\) is needed",
        ),
    ],
)
def test_what_cannot_be_copied_is_refused(changes: dict[str, Any], message: str) -> None:
    model = dense(Transformer)
    with pytest.raises(ValueError, match=message):
        convert_weights(model, model.config.swap(**changes))


def test_a_mixer_without_anything_in_common_is_refused() -> None:
    model = dense(position="learned()")
    for mixer in ("fourier()", ["softmax()", "pool()"]):
        with pytest.raises(Unsupported, match="no weight in common"):
            convert_weights(model, model.config.swap(mixer=mixer))


@torch.no_grad()
@torch.no_grad()
def test_what_is_around_a_replaced_mixer_is_kept() -> None:
    model = dense(position="learned()")
    with pytest.warns(UserWarning, match=r"dropped from the given model: 8 tensors"):
        made = convert_weights(model, model.config.swap(mixer="fourier()"), replace=True)
    assert torch.equal(made.model.model.layers[0].ffn.up_proj.weight, model.model.layers[0].ffn.up_proj.weight)
    assert not made.fresh


def test_layers_that_stay_as_they_are_need_nothing_in_common() -> None:
    model = dense(mixer=["softmax()", "pool()"], position="learned()")
    made = convert_weights(model, model.config.swap(mixer=["sparse(pattern=window(64))", "pool()"])).model
    torch.testing.assert_close(made(IDS).logits, model(IDS).logits)


def seq2seq(**changes: Any) -> Seq2SeqLM:
    return Seq2SeqLM(Seq2SeqConfig(**SIZES, encoder_depth=3, position="none()", **changes)).eval()


def test_both_stacks_of_an_encoder_decoder_are_reported_under_their_own_mixers() -> None:
    model = seq2seq(encoder_mixer="softmax(bias=True)", mixer="softmax(bias=True)")
    with pytest.warns(UserWarning, match="not converted whole") as said:
        made = convert_weights(model, model.config.swap(encoder_mixer="linear(feature=hedgehog)", mixer="metric()"))
    text = str(said[0].message)
    assert "of linear(feature=hedgehog()) is new" in text
    assert "of metric() is new" in text
    assert "biases are kept by linear(bias=True)\n" in f"{text}\n"
    assert all(name.startswith("model.encoder.") for name in made.fresh if "feature" in name)


@pytest.mark.parametrize("option", ["mixer", "encoder_mixer"])
def test_a_mixer_of_either_stack_without_anything_in_common_is_refused(option: str) -> None:
    model = seq2seq()
    other = "pool()" if option == "mixer" else "fourier()"
    with pytest.raises(Unsupported, match="no weight in common"):
        convert_weights(model, model.config.swap(**{option: other}))


def test_starts_within_cycled_mixers_of_an_encoder_are_told() -> None:
    model = seq2seq(encoder_mixer=["fourier(gain=1.0)", "softmax()"])
    with pytest.warns(UserWarning, match=r"no effect: gain=0\.5 of fourier"):
        convert_weights(model, model.config.swap(encoder_mixer=["fourier(gain=0.5)", "softmax()"]))


@pytest.mark.filterwarnings("error")
def test_a_layer_that_is_used_again_is_converted_once() -> None:
    model = dense(CausalLM, computation="universal()", position="none()", depth=4)
    made = convert_weights(model, model.config.swap(mixer="window(64)"), strict=True)
    torch.testing.assert_close(made.model(IDS).logits, model(IDS).logits)


def test_what_is_given_in_another_form_is_named() -> None:
    model = dense(CausalLM)
    with pytest.raises(TypeError, match=r"config must be a TransformerConfig, .* but 'linear\(\)' \(str\) was given"):
        convert_weights(model, "linear()")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"config must be a TransformerConfig, as the model's is, but .*PixelConfig"):
        convert_weights(model, PixelConfig())
    with pytest.raises(TypeError, match=r"a Linear was given; .*from_hf"):
        convert_weights(torch.nn.Linear(2, 2), model.config)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write fresh=\['q_proj.weight'\]"):
        convert_weights(model, model.config, fresh="q_proj.weight")
    with pytest.raises(ValueError, match="extension='strech' was given; expected one of repeat, interpolate"):
        convert_weights(model, model.config, extension="strech")  # type: ignore[arg-type]


def test_fewer_positions_are_the_first_ones() -> None:
    model = dense(CausalLM, position="learned()")
    made = convert_weights(model, model.config.swap(context_length=9))
    old, new = (one.model.input_position.table.weight for one in (model, made.model))
    assert torch.equal(new, old[:9])
    assert "the first 9 of" in made.derived["model.input_position.table.weight"]


@pytest.mark.parametrize("name", ["embed_tokens.weight", "lm_head.weight"])
def test_a_tied_weight_that_starts_anew_does_so_under_both_of_its_names(name: str) -> None:
    model = dense(CausalLM)
    made = convert_weights(model, model.config, fresh=[name])
    assert made.model.lm_head.weight is made.model.model.embed_tokens.weight
    assert float(made.model.lm_head.weight.detach().std()) < 0.1 < float(model.lm_head.weight.detach().std())
    assert set(made.derived) == {"model.embed_tokens.weight", "lm_head.weight"}
    with torch.device("meta"):
        there = CausalLM(model.config)
    assert convert_weights(there, model.config, fresh=[name]).derived == made.derived
