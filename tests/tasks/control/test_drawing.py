"""Rollouts as GIFs; those here go on after the pole has fallen, which is drawn like anything else."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from formers.tasks.control import drawing
from formers.tasks.control.drawing import CannotDraw, draw_gif
from formers.tasks.control.rollouts import Rollout
from formers.tasks.picture import Picture

pytestmark = pytest.mark.filterwarnings("ignore:.*already returned terminated")
pytest.importorskip("pygame", reason="the extra control")
Image = pytest.importorskip("PIL.Image", reason="the extra control")


def test_a_rollout_moves() -> None:
    data = draw_gif("CartPole-v1", Rollout(seed=0, asked=20.0, actions=[1] * 9, total=9.0))
    image = Image.open(io.BytesIO(data))
    assert 8 <= image.n_frames <= 10  # frames that are alike are one
    assert image.width == 240
    frames = []
    for index in range(image.n_frames):
        image.seek(index)
        frames.append(image.convert("RGB").tobytes())
    assert len(set(frames)) == image.n_frames
    assert len(data) < 120_000
    Picture.of_file("It falls.", data)


def test_long_ones_have_sixty_frames_at_most() -> None:
    actions = [step % 2 for step in range(70)]
    image = Image.open(io.BytesIO(draw_gif("CartPole-v1", Rollout(seed=0, asked=20.0, actions=actions))))
    assert image.n_frames <= 60


def test_frames_are_left_out_until_it_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_MOST_BYTES", 1000)
    image = Image.open(io.BytesIO(draw_gif("CartPole-v1", Rollout(seed=0, asked=20.0, actions=[0, 1] * 30))))
    assert 8 <= image.n_frames < 16


def test_what_would_end_the_process_is_tried_in_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing.check_drawing.cache_clear()
    monkeypatch.setattr(drawing, "_TRIAL", "import os; os.abort()")
    with pytest.raises(CannotDraw, match=r"Hopper-v5 cannot be drawn here, a trial ended with -6: MuJoCo needs"):
        draw_gif("Hopper-v5", Rollout(seed=0, asked=20.0))
    drawing.check_drawing.cache_clear()
    monkeypatch.setattr(drawing, "_TRIAL", "")
    drawing.check_drawing("Hopper-v5")
    drawing.check_drawing.cache_clear()


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(CannotDraw, match=r"pillow: pip install 'formers\[control\]'"):
        draw_gif("CartPole-v1", Rollout(seed=0, asked=0.0))


def test_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(drawing, "make_environment", fail)
    with pytest.raises(CannotDraw, match="CartPole-v1 cannot be drawn here: no display"):
        draw_gif("CartPole-v1", Rollout(seed=0, asked=0.0))
