"""The model of images: its losses, its generation, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from formers import PixelConfig, PixelLM, TransformerConfig, Unsupported
from formers.mixers import ImageLocal, Linear, Mixer, Softmax
from formers.patterns import Local2D
from formers.positions import Grid, Rotary
from formers.testing import assert_same

MIXERS: list[Mixer] = [Softmax(), Linear(), ImageLocal(), ImageLocal(pattern=Local2D(5, 4, block=2, halo=1))]


def config(**changes: Any) -> PixelConfig:
    sizes = {"vocab_size": 16, "width": 24, "depth": 2, "heads": 2, "context_length": 20, "initializer_range": 0.2}
    return PixelConfig(**{**sizes, "position": Grid(rows=5, columns=4, how="concatenate"), "mixtures": 3, **changes})


def model(**changes: Any) -> PixelLM:
    torch.manual_seed(0)
    return PixelLM(config(**changes)).eval()


def images(rows: int = 3) -> Tensor:
    return torch.randint(16, (rows, 20), generator=torch.Generator().manual_seed(1))


def inputs(pixels: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(pixels[:, :1]), pixels[:, :-1]], 1)


@pytest.mark.parametrize("distribution", ["logistics", "categorical"])
def test_the_loss_is_that_of_the_log_probabilities(distribution: str) -> None:
    net, pixels = model(distribution=distribution).double(), images()
    log_p = net(inputs(pixels)).logits
    assert log_p.shape == (3, 20, 16)
    assert_same(log_p.exp().sum(-1), torch.ones(3, 20, dtype=torch.float64), "sum over the values")
    labels = pixels.masked_fill(torch.arange(20) < 8, -100)
    found = log_p.gather(2, pixels.unsqueeze(2))[:, 8:]
    out = net(inputs(pixels), labels=labels)
    assert_same(out.loss, -found.mean(), "loss of the counted pixels")
    assert_same(out.nats[:, 8:], -found.squeeze(2), "loss of each pixel")
    assert not out.nats[:, :8].any()
    assert out.logits is None
    by_count = net(inputs(pixels), labels=labels, num_items_in_batch=99).loss
    assert_same(by_count, -found.sum() / 99, "loss over a count")
    kept = net(inputs(pixels), labels=labels[:, -5:], logits_to_keep=5).loss
    assert_same(kept, -found[:, -5:].mean(), "loss of the kept pixels")


def test_components_start_beside_each_other() -> None:
    bias = model().pixel_head.get_submodule("proj").bias
    assert isinstance(bias, Tensor)
    assert_same(bias[3:6].detach(), torch.tensor([-0.5, 0.0, 0.5]), "means")
    uniform = model(initializer_range=0.0, mixtures=10)(inputs(images())).logits
    assert uniform.max() < 2 * -math.log(16) / 2 + 1  # no value is far likelier than 1 in 16


@pytest.mark.parametrize("mixer", MIXERS, ids=str)
def test_generation_equals_recomputation(mixer: Mixer) -> None:
    net, pixels = model(mixer=mixer), images()
    prompt = inputs(pixels)[:, :9]
    found = net.generate(prompt, max_new_tokens=11, do_sample=False)
    assert found.shape == (3, 20)
    again = net(found).logits.argmax(-1)
    assert found[:, 9:].equal(again[:, 8:-1])
    beams = net.generate(prompt, max_new_tokens=11, num_beams=3)
    assert beams[:, :9].equal(prompt)


def test_an_image_ends() -> None:
    for mixer in (Softmax(), ImageLocal(pattern=Local2D(5, 4, block=2, halo=1))):
        with pytest.raises(ValueError, match=r"20 pixels|up to 20 tokens"):
            model(mixer=mixer)(torch.zeros(1, 21, dtype=torch.long))
    long = model(mixer=ImageLocal(pattern=Local2D(5, 4, block=2, halo=1)), position=Rotary())
    with pytest.raises(ValueError, match="up to 20 tokens"):
        long.generate(torch.zeros(1, 19, dtype=torch.long), max_new_tokens=4, do_sample=False)


@pytest.mark.parametrize("mixer", [Softmax(), ImageLocal(pattern=Local2D(5, 4, block=2, halo=1))], ids=str)
def test_images_in_a_row_are_as_alone(mixer: Mixer) -> None:
    net, pixels = model(mixer=mixer), images(3)
    alone = net(inputs(pixels), labels=pixels)
    bounds = torch.tensor([0, 20, 40, 60], dtype=torch.int32)
    said: list[dict[str, Any]] = [
        {"position_ids": torch.arange(20).repeat(1, 3)},
        {"seq_idx": torch.arange(3).repeat_interleave(20).unsqueeze(0)},
        {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": 20, "max_length_k": 20},
    ]
    for marks in said:
        packed = net(inputs(pixels).view(1, 60), labels=pixels.view(1, 60), **marks)
        assert_same(packed.nats.view(3, 20), alone.nats, f"−log p with {list(marks)}")
        assert_same(packed.loss, alone.loss, "loss")


@pytest.mark.parametrize("distribution", ["logistics", "categorical"])
def test_saves_and_loads(tmp_path: Path, distribution: str) -> None:
    net = model(distribution=distribution)
    net.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, PixelLM)
    assert loaded.config.choices() == net.config.choices()
    assert (loaded.config.distribution, loaded.config.mixtures) == (distribution, 3)
    assert loaded(inputs(images())).logits.equal(net(inputs(images())).logits)


def test_what_is_refused() -> None:
    with pytest.raises(Unsupported, match="no output embedding"):
        model(tie_word_embeddings=True)
    with pytest.raises(ValueError, match="at least 2 grey values"):
        model(vocab_size=1)
    with pytest.raises(ValueError, match="distribution must be"):
        config(distribution="gauss")
    with pytest.raises(TypeError, match="mixtures"):
        TransformerConfig().swap(mixtures=3)
    with pytest.raises(ValueError, match="labels have shape"):
        model()(inputs(images()), labels=images()[:, 1:])
    with pytest.raises(ValueError, match="from 0 to 15"):
        model()(inputs(images()), labels=images() + 16)
