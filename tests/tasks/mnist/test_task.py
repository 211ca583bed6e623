from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from formers.mixers import ImageLocal
from formers.models import PixelLM
from formers.patterns import Local2D
from formers.tasks import TASKS, Mnist, parse
from formers.tasks.checks.checked_task import CheckedTask
from formers.tasks.mnist.judge import trained_judge
from formers.tasks.mnist.pixels import example_of, generated


def task_of(small: Path, **options: object) -> Mnist:
    task = parse("mnist/complete").swap(**{"length": 49, "judged": 4, "path": str(small), **options})
    assert isinstance(task, Mnist)
    return task


def model_of(task: Mnist) -> PixelLM:
    torch.manual_seed(0)
    model = task.model(task.base().swap(width=16, heads=2, mixtures=2, depth=1))
    assert isinstance(model, PixelLM)
    return model


def test_names_and_options() -> None:
    assert Mnist in TASKS
    assert parse("mnist/generate(length=196)") == Mnist(task="generate", length=196)
    assert parse(str(Mnist(task="complete"))) == Mnist(task="complete")
    with pytest.raises(ValueError, match="length must be one of 784, 196, 49"):
        Mnist(task="complete", length=100)
    with pytest.raises(ValueError, match="judged must be"):
        Mnist(task="complete", judged=-1)


def test_examples_are_one_pixel_late(small: Path) -> None:
    for kind, given in (("complete", 21), ("generate", 0)):
        task = task_of(small, task=kind)
        example = task.build(0, 5)[3]
        assert example["input_ids"].shape == (49,)
        assert not example["input_ids"][0]
        assert example["input_ids"][given + 1 :].equal(example["labels"][given:-1])
        assert (example["labels"][:given] == -100).all()
        assert example["labels"].equal(task.build(0, 9)[3]["labels"])
        assert not example["labels"].equal(task.build(1, 9)[3]["labels"])


def test_bits_are_those_of_the_predicted_pixels(small: Path) -> None:
    task = task_of(small, judged=0)
    model = model_of(task)
    images = task.images.test.images
    found = task.bits(model.eval(), images)
    assert found.shape == (40,)
    alone = [model(**example_of(images[i : i + 1], task.given)).loss.item() for i in range(3)]
    assert found[:3].tolist() == pytest.approx([nats / math.log(2) for nats in alone], rel=1e-5)


@pytest.mark.parametrize("kind", ["complete", "generate"])
def test_an_evaluation(small: Path, kind: str) -> None:
    task = task_of(small, task=kind)
    model = model_of(task)
    before = torch.random.get_rng_state()
    validated, tested = (CheckedTask(task).evaluate(model, split) for split in ("validation", "test"))
    assert torch.random.get_rng_state().equal(before)
    assert set(validated.metrics) == {"bits_per_dim"}
    assert len(tested.items) == 40
    assert tested.metrics["bits_per_dim"] == pytest.approx(sum(tested.items) / 40)
    judged = {name for name in tested.metrics if name.startswith("judge")}
    assert len(judged) == (3 if kind == "complete" else 2)
    assert all(0 <= tested.metrics[name] <= 1 for name in judged)
    assert model.training
    (page,) = CheckedTask(task).pictures(model)
    assert page.uri.startswith("data:image/png")


def test_completions_begin_with_what_is_given_and_depend_on_the_seed(small: Path) -> None:
    task = task_of(small)
    images, model = task.images.test.images[:3], model_of(task)
    one, same, other = (generated(model, images, 21, seed=seed) for seed in (0, 0, 1))
    assert one[:, :21].equal(images[:, :21])
    assert one.shape == images.shape
    assert one.equal(same)
    assert not one.equal(other)


def test_the_judge_is_always_the_same_and_right(small: Path) -> None:
    images = parse("mnist/complete(length=196)").swap(path=str(small)).images
    judge = trained_judge(str(small), 196)
    twin = trained_judge.__globals__["_trained"].__wrapped__(str(small), 196, images.sha256)
    assert all(a.equal(b) for a, b in zip(judge.parameters(), twin.parameters(), strict=True))
    assert judge.probabilities(images.test.images).shape == (40, 10)


def test_references(small: Path) -> None:
    bits = task_of(small).references()["each pixel by itself"]
    assert 0 < bits < 8


@pytest.mark.parametrize("length", [784, 196, 49])
def test_the_arms_of_the_default_study_fit_the_images(length: int) -> None:
    task = Mnist(task="generate", length=length)
    base = task.base()
    side = math.isqrt(length)
    for arm in task.arms:
        mixer = arm.partition("mixer=")[2]
        with torch.device("meta"):
            model = task.model(base.swap(mixer=mixer))
        if "local2d" in mixer:
            part = model.config.mixer
            assert isinstance(part, ImageLocal)
            assert isinstance(part.pattern, Local2D)
            assert (part.pattern.height, part.pattern.width) == (side, side)


def test_training_lowers_the_bits(small: Path) -> None:
    task = task_of(small, task="generate")
    model = model_of(task)
    data = task.build(0, 640)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    start = task.evaluate(model).metrics["bits_per_dim"]
    for step in range(40):
        rows = [data[16 * step + i] for i in range(16)]
        loss = model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]}).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert task.evaluate(model).metrics["bits_per_dim"] < start / 2
