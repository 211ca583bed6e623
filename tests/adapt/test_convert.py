"""Trained models with another mixer in some layers, and positions for longer texts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from formers import CausalLM, TransformerConfig
from formers.adapt import convert, from_hf, to_hf, use_attention
from formers.adapt.layer_mixers import layer_mixers, shortest_cycle
from formers.mixers import Linear, Longformer, Mixer, Softmax, Sparse
from formers.models import DecisionConfig, DecisionTransformer, Seq2SeqConfig, Seq2SeqLM, convert_weights
from formers.part import Unsupported
from formers.patterns import Window
from formers.testing.compare import assert_same

from .families import CONVERTED, DECODERS, ENCODERS, VOCABULARY, made

SOFTMAX, LINEAR, WINDOW = Softmax(), Linear(), Sparse(pattern=Window(4))
IDS = torch.randint(3, VOCABULARY, (2, 40), generator=torch.Generator().manual_seed(0))


def mixers(chosen: Any, **before: Any) -> list[Mixer]:
    return layer_mixers(TransformerConfig(depth=6, **before), chosen, bias=True)


def test_a_mixer_per_layer() -> None:
    assert mixers("linear()") == [LINEAR] * 6
    assert mixers(["window(4)", SOFTMAX]) == [WINDOW, SOFTMAX] * 3
    assert mixers({"4:": "linear", 0: Window(4), -1: "window(4)"}) == [WINDOW, *[SOFTMAX] * 3, LINEAR, WINDOW]
    assert mixers({"::2": "linear", ":": "window(4)", "1": "linear"}) == [WINDOW, LINEAR, *[WINDOW] * 4]
    assert mixers({"1, 4:": "linear"}) == mixers({1: "linear", "4:": "linear"})
    assert mixers({2: "linear"}, mixer=["window(4)", "softmax"])[:4] == [WINDOW, SOFTMAX, LINEAR, SOFTMAX]


def test_options_of_the_mixer_before_are_kept() -> None:
    before = {"mixer": "softmax(kv_heads=2, bias=True)"}
    assert mixers("window(4)", **before)[0] == Sparse(pattern=Window(4), kv_heads=2, bias=True)
    assert mixers("softmax(kv_heads=4)", **before)[0] == Softmax(kv_heads=4, bias=True)
    assert mixers("linear()", **before)[0] == Linear(bias=True)
    assert layer_mixers(TransformerConfig(**before), "longformer()", bias=False)[0] == Longformer()


def test_the_shortest_cycle() -> None:
    assert shortest_cycle([SOFTMAX] * 6) == SOFTMAX
    assert shortest_cycle([SOFTMAX, LINEAR] * 3) == [SOFTMAX, LINEAR]
    assert shortest_cycle([SOFTMAX, SOFTMAX, LINEAR, SOFTMAX]) == [SOFTMAX, SOFTMAX, LINEAR]


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        ({6: "linear()"}, "there is no layer 6: the model has layers 0 to 5"),
        ({"8:": "linear()"}, "'8:' names no layer"),
        ({"first": "linear()"}, "'first' does not name layers"),
        ({"::0": "linear()"}, "'::0' does not name layers"),
        (["linear()"] * 7, "7 mixers were given for 6 layers"),
        ([], "0 mixers were given for 6 layers"),
        ({0: ["linear()", "softmax()"]}, "one mixer is needed for a layer"),
        ("linaer()", "did you mean 'linear'"),
    ],
)
def test_layers_that_there_are_not_are_named(mixer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixers(mixer)


WINDOWED = {"mistral, window", "ministral", "phi3, window"}
"""Families whose first layer has a window."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("family", sorted(WINDOWED))
def test_a_mixer_takes_the_place_of_a_window_too(family: str) -> None:
    theirs = made(CONVERTED[family])
    same, whole = (convert(theirs, {0: f"window({n})"}, input_ids=IDS[:, :20]).drift for n in (5, 100))
    assert same is not None
    assert whole is not None
    assert same.difference < 1e-5
    assert whole.difference > 1e-3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("family", [family for family in CONVERTED if family not in WINDOWED])
def test_a_window_of_everything_changes_no_family(family: str) -> None:
    theirs = made(CONVERTED[family])
    done = convert(theirs, {0: "window(100)"}, input_ids=IDS[:, :20])
    assert done.drift is not None
    assert done.drift.difference < 1e-5
    assert done.fresh == done.left == ()
    assert "none, so that nothing was lost" in str(done)


def test_what_is_new_and_how_far_outputs_move_is_said() -> None:
    theirs = made(DECODERS["qwen3"])
    with pytest.warns(UserWarning, match="is new") as told:
        done = convert(theirs, {1: "linear(feature=hedgehog)"}, input_ids=IDS)
    assert [warning.filename for warning in told] == [__file__]
    assert done.model.config.mixer == (Softmax(kv_heads=2), Mixer.parse("linear(feature=hedgehog)"))
    assert "derived model.layers.1.mixer.k_proj.weight: 2 heads repeated to 4" in str(done)
    assert "fresh model.layers.1.mixer.feature" in str(done)
    assert done.drift is not None
    assert 0.01 < done.drift.difference < 2
    assert done.drift.agreement is not None
    assert f"{100 * done.drift.agreement:.0f} % of the best scores stay the best" in str(done)
    options = {"max_new_tokens": 8, "do_sample": False}
    assert torch.equal(done.model.generate(IDS, **options), done.model.generate(IDS, use_cache=False, **options))


def test_attention_gives_way_to_a_mixer_without_weights() -> None:
    bert = made(ENCODERS["bert"])
    with pytest.warns(UserWarning, match="dropped from the given model: 16 tensors, 8 of them biases"):
        done = convert(bert, "fourier()", input_ids=IDS)
    assert done.drift is not None
    assert done.drift.agreement is None
    kept = done.model.layers[1].ffn.up_proj.weight
    assert torch.equal(kept, bert.encoder.layer[1].intermediate.dense.weight)


@pytest.mark.parametrize("take", [convert, from_hf, use_attention])
def test_what_is_no_model_is_told_how_to_become_one(take: Any) -> None:
    more = [] if take is from_hf else ["linear()"]
    with pytest.raises(TypeError, match=r"'gpt2' \(str\) was given; load one"):
        take("gpt2", *more)
    peft = pytest.importorskip("peft", reason="LoRA needs the extra adapt: pip install peft")
    with pytest.raises(TypeError, match=r"give model\.merge_and_unload\(\)"):
        take(peft.get_peft_model(made(DECODERS["llama"]), peft.LoraConfig(target_modules=["q_proj"])), *more)


def test_what_is_no_mixer_and_a_model_that_has_mixers_are_named() -> None:
    ours = from_hf(made(DECODERS["llama"]))
    with pytest.raises(TypeError, match=r"mixer must be a mixer, a list .* but 5 \(int\) was given"):
        convert(ours, 5)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match=r"CausalLM has its own mixers; exchange them with formers\.adapt\.convert"):
        use_attention(ours, "linear()")


def test_a_model_without_data_is_converted_and_not_measured() -> None:
    config = from_hf(made(DECODERS["llama"])).config
    with torch.device("meta"):
        ours = CausalLM(config)
    done = convert(ours, "linear()")
    assert done.drift is None
    assert done.model.device.type == "meta"
    assert "drift" not in str(done)


def test_an_encoder_decoder_is_measured_and_what_reads_no_tokens_is_not() -> None:
    sizes = {"width": 24, "heads": 3, "depth": 1}
    done = convert(Seq2SeqLM(Seq2SeqConfig(vocab_size=50, encoder_depth=1, **sizes)), "linear()")
    assert done.drift is not None
    assert done.drift.agreement is not None
    assert convert(DecisionTransformer(DecisionConfig(**sizes)), "linear()").drift is None


@torch.no_grad()
def test_a_model_whose_weights_were_to_start_otherwise_goes_back() -> None:
    theirs = made(DECODERS["gpt2"])
    ours = from_hf(theirs)
    started = ours.config.residual.swap(depth_scaled=True)
    with pytest.warns(UserWarning, match="no effect: depth_scaled=True"):
        ours = convert_weights(ours, ours.config.swap(residual=started)).model
    assert torch.equal(to_hf(ours, theirs.config)(IDS).logits, theirs(IDS).logits)


@torch.no_grad()
def test_learned_positions_reach_farther() -> None:
    bert = made(ENCODERS["roberta"])
    done = convert(bert, "longformer(window=[8])", context_length=2040, input_ids=IDS)
    table = done.model.input_position.table.weight
    assert table.shape == (2 + 2040, 32)
    assert torch.equal(table[2 : 2 + 510], table[2 + 3 * 510 : 2 + 4 * 510])
    long = torch.randint(3, VOCABULARY, (1, 2040), generator=torch.Generator().manual_seed(0))
    assert done.model(long)[0].isfinite().all()
    stretched = convert(bert, context_length=1019, positions="interpolate").model.input_position.table.weight
    assert_same(stretched[2::2], table[2 : 2 + 510], "every other one")


@torch.no_grad()
def test_an_extended_model_goes_back_where_its_attention_stays() -> None:
    bert = made(CONVERTED["bert sequences"])
    longer = convert(bert, context_length=1024, input_ids=IDS).model
    with pytest.raises(Unsupported, match="bert has context_length=512, but the model context_length=1024"):
        to_hf(longer, bert.config)
    bert.config.max_position_embeddings = 1024
    back = to_hf(longer, bert.config)
    long = torch.randint(3, VOCABULARY, (1, 1000), generator=torch.Generator().manual_seed(0))
    assert_same(back(long).logits, longer(long).logits, "a longer text")


@torch.no_grad()
def test_rotary_positions_reach_farther() -> None:
    theirs = made(DECODERS["llama"])
    ours = from_hf(theirs)
    before = ours.config.context_length
    for how in ("linear", "ntk", "yarn"):
        longer = convert(ours, context_length=4 * before, positions=how, input_ids=IDS).model
        assert (longer.config.position.scaling, longer.config.position.factor) == (how, 4)
        assert longer.config.context_length == 4 * before
    slow = convert(ours, context_length=2 * before, positions="linear", input_ids=IDS).model
    spread = torch.arange(0, 80, 2)[None]
    assert_same(
        slow(IDS, position_ids=spread, seq_idx=torch.zeros_like(IDS)).logits,
        ours(IDS).logits,
        "twice as far apart",
        1e-5,
    )
    same = convert(ours, context_length=2 * before, input_ids=IDS)
    assert same.drift is not None
    assert same.drift.difference == 0


def test_a_model_that_promises_more_than_it_was_trained_on_is_scaled_from_there() -> None:
    ours = from_hf(made(DECODERS["llama"]))
    promised = ours.config.context_length
    done = convert(ours, context_length=promised, positions="yarn", trained_length=promised // 4)
    part = done.model.config.position
    assert f"positions were {ours.config.position}, and are {part}" in str(done)
    assert "positions were" not in str(convert(ours, context_length=promised))
    assert (part.scaling, part.factor, part.trained_length) == ("yarn", 4, promised // 4)
    part = convert(ours, context_length=promised, positions="ntk", trained_length=promised // 2).model.config.position
    assert (part.scaling, part.factor, part.trained_length) == ("ntk", 2, None)


def test_positions_that_cannot_be_extended_say_so() -> None:
    ours = from_hf(made(DECODERS["llama"]))
    longer = 2 * ours.config.context_length
    with pytest.raises(ValueError, match=r"does not extend rotary\(.*for it there is linear, ntk or yarn"):
        convert(ours, context_length=longer, positions="repeat")
    with pytest.raises(ValueError, match="give a context_length"):
        convert(ours, positions="yarn")
    with pytest.raises(ValueError, match="longer sequences than the 16 tokens"):
        convert(ours, context_length=16, positions="yarn", trained_length=16)
    for without in (
        {},
        {"positions": "yarn", "trained_length": 2 * longer},
        {"positions": "yarn", "trained_length": 0},
    ):
        with pytest.raises(ValueError, match=r"trained_length=.* is for rotary positions that are to be scaled"):
            convert(ours, context_length=longer, **({"trained_length": 16} | without))
    alibi = CausalLM(TransformerConfig(vocab_size=9, width=8, heads=2, depth=1, position="alibi()"))
    with pytest.raises(ValueError, match=r"does not extend alibi\(\); for it there is nothing"):
        convert(alibi, context_length=1024, positions="linear")
    with pytest.raises(Unsupported, match="scaled already"):
        convert(from_hf(made(CONVERTED["llama 3.1"])), context_length=longer, positions="yarn")
