"""`formers show` of patterns and of mixers over them, in characters and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from formers.cli.mask_image import save_masks
from formers.cli.part_patterns import directions_of
from formers.patterns import PATTERNS, Blockwise, Window
from formers.patterns.picture import mask_of


def pixels(path: Path) -> Any:
    image = pytest.importorskip("PIL.Image", reason="pillow comes with matplotlib: pip install formers[lab]")
    return image.open(path)


def test_a_pattern_becomes_a_picture(command: Any, here: Path) -> None:
    done = command("show", "window(4) | global(0)", "--png", "out.png")
    assert done.exit_code == 0, done.output
    assert "wrote out.png" in done.output
    assert "all, 31% of 32²" in done.output
    picture = pixels(here / "out.png")
    assert picture.format == "PNG"
    assert picture.width > 1.5 * picture.height, "both directions beside each other"


def test_heads_that_differ_have_a_row_each(command: Any, here: Path) -> None:
    done = command("show", "longformer(window=[4], dilation=[1, 2])", "--png", "heads.png", "--length", "48")
    assert done.exit_code == 0, done.output
    assert "heads 0, 2, 4, 6" in done.output
    assert "heads 1, 3, 5, 7" in done.output
    assert "of 48²" in done.output
    assert pixels(here / "heads.png").height > 0.9 * pixels(here / "heads.png").width


def test_by_name_with_defaults(command: Any, here: Path) -> None:
    for name in ("chunk", "bigbird", "blockwise_attention", "etc"):
        done = command("show", name, "--png", f"{name}.png")
        assert done.exit_code == 0, done.output
        assert pixels(here / f"{name}.png").format == "PNG"


def test_what_is_drawn_is_the_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[str, Any]] = []
    original = Axes.imshow

    def recorded(self: Any, image: Any, **options: Any) -> Any:
        drawn.append(image)
        return original(self, image, **options)

    titles: list[str] = []
    monkeypatch.setattr(Axes, "imshow", recorded)
    monkeypatch.setattr(Axes, "set_title", lambda self, text, **options: titles.append(text))
    save_masks("two", {"head 0": Window(1), "head 1": Blockwise((1, 0))}, [False], 4, tmp_path / "two.png")
    assert titles == ["head 0: both ways, 62% of 4²", "head 1: both ways, 50% of 4²"]
    assert drawn[0].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]
    assert drawn[1].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]


@pytest.mark.parametrize("name", ["lsh", "linear(feature=taylor2)", "hedgehog", "alibi", "fourier"])
def test_mixers_without_a_pattern_and_positions_are_drawn_by_their_weights(command: Any, here: Path, name: str) -> None:
    done = command("show", name, "--png", "weights.png", "--length", "12")
    assert done.exit_code == 0, done.output
    assert "wrote weights.png" in done.output
    assert pixels(here / "weights.png").format == "PNG"


def test_a_pattern_wider_than_the_picture_is_drawn_at_a_length_that_shows_it(command: Any) -> None:
    done = command("show", "window(400)")
    assert "of 2048²" in done.output
    assert max(map(len, done.output.splitlines())) < 140
    assert "▒" in done.output


@pytest.mark.parametrize("kind", PATTERNS, ids=lambda kind: kind.name())
def test_every_pattern_has_a_mask_to_draw(kind: Any) -> None:
    for causal in directions_of(kind()):
        mask = mask_of(kind(), 40, causal)
        assert mask.shape == (40, 40)
        assert not causal or torch.equal(mask, mask.tril())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "mlp", "--png", "x.png"], "only patterns, mixers, features and positions can be drawn"),
        (["show", "softmax(kv_head=2)"], "did you mean 'kv_heads'"),
        (["show", "windo(4)"], "did you mean 'window'"),
        (["show", "window(4)", "--png", "nowhere/x.png"], "nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_said(command: Any, here: Path, words: list[str], message: str) -> None:
    done = command(*words)
    assert done.exit_code == 2
    assert message in done.output
    assert not list(here.glob("*.png"))
