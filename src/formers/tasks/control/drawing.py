"""Rollouts drawn as GIFs."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from functools import lru_cache
from typing import Any

import numpy as np

from formers.tasks.control.environments import make_environment
from formers.tasks.control.rollouts import Rollout

_WIDTH = 240
"""Of a picture, in pixels."""
_FRAMES, _FEWEST = 60, 8
"""Frames of a GIF at most, and the fewest that still show how something moves."""
_COLOURS = 16
_SECONDS = 6.0
"""The time that a GIF takes, at most 25 frames a second."""
_MOST_BYTES = 120_000
"""Of one GIF; a report shows several."""

_TRIAL = """
import sys, gymnasium
environment = gymnasium.make(sys.argv[1], render_mode="rgb_array")
environment.reset(seed=0)
environment.render()
"""
"""The program that draws one picture."""
_PATIENCE = 120
"""Seconds that it may take."""


class CannotDraw(RuntimeError):
    """The reason why an environment cannot be drawn on this machine."""


def draw_gif(environment: str, rollout: Rollout) -> bytes:
    """Return a GIF of a rollout, made by playing its actions again: at most 60 frames, evenly over the episode.

    Raises:
        CannotDraw: where pillow or what the environment draws with is missing, or does not work without a screen.
    """
    try:
        from PIL import Image
    except ImportError:
        raise CannotDraw("GIFs need pillow: pip install 'formers[control]'") from None
    check_drawing(environment)
    steps = len(rollout.actions)
    wanted = sorted({round(i * steps / (_FRAMES - 1)) for i in range(_FRAMES)})
    images = [_small(Image.fromarray(frame)) for frame in _frames(environment, rollout, wanted)]
    while True:
        data = _encoded(images)
        if len(data) <= _MOST_BYTES or len(images) < 2 * _FEWEST:
            return data
        images = images[::2]


@lru_cache(maxsize=16)
def check_drawing(name: str) -> None:
    """Raise CannotDraw for an environment of MuJoCo that cannot be drawn on this machine.

    Without a graphics driver, MuJoCo ends the whole process, and a training in it; so another one tries it first.
    """
    import gymnasium

    known = gymnasium.registry.get(name)
    if known is None or ".mujoco" not in str(known.entry_point):
        return
    try:
        tried = subprocess.run(
            [sys.executable, "-c", _TRIAL, name], capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotDraw(f"{name} cannot be drawn here: a trial took more than {_PATIENCE} s") from None
    if tried.returncode:
        why = "MuJoCo needs a graphics driver; with one, set MUJOCO_GL=egl, or osmesa for drawing without"
        raise CannotDraw(f"{name} cannot be drawn here, a trial ended with {tried.returncode}: {why}")


def _frames(name: str, rollout: Rollout, wanted: list[int]) -> list[np.ndarray]:
    """Return the pictures before the wanted steps, in order; 0 is the beginning."""
    state = random.getstate()
    try:
        environment = make_environment(name, render=True)
        try:
            environment.reset(seed=rollout.seed)
            frames = [environment.render()] if 0 in wanted else []
            for step, action in enumerate(rollout.actions, 1):
                environment.step(action)
                if step in wanted:
                    frames.append(environment.render())
        finally:
            environment.close()
    except Exception as error:  # drivers, screens and libraries fail in ways of their own
        raise CannotDraw(f"{name} cannot be drawn here: {' '.join(str(error).split())[:200]}") from error
    finally:
        random.setstate(state)
    if not all(isinstance(frame, np.ndarray) and frame.ndim == 3 for frame in frames):
        raise CannotDraw(f"{name} draws no pictures")
    return frames


def _small(image: Any) -> Any:
    """Return an image in the size and with the colours of a report."""
    height = max(1, round(image.height * _WIDTH / image.width))
    return image.convert("RGB").resize((_WIDTH, height)).quantize(_COLOURS)


def _encoded(images: list[Any]) -> bytes:
    """Return images as one GIF that goes on for ever."""
    file = io.BytesIO()
    pause = max(40, round(1000 * _SECONDS / max(1, len(images))))
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=pause, loop=0, optimize=True)
    return file.getvalue()
