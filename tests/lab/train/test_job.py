from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from formers.lab import Arm, Budget, Study
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train.job import Job
from formers.lab.train.kept_batches import KeptBatches
from formers.tasks.corpus.tokenizer_kinds import learned_bpe

PERFORMER = {"mixer": "performer(features=16)", "position": "rotary", "residual": "danet"}


def job(name: str, swaps: dict[str, object], **options: object) -> Job:
    study = Study(task="sort(length=8)", arms=(Arm(name, swaps),), budget=Budget(steps=3), **options)  # type: ignore[arg-type]
    [planned] = plan_jobs(study)
    assert isinstance(planned, Job)
    return planned


@pytest.mark.skipif(
    transformers.__version__ != "5.23.0", reason="other versions have other defaults in a configuration"
)
def test_fingerprints_stay_what_they_are() -> None:
    """Rows and checkpoints are found by them: with other ones, studies of before would train anew."""
    assert job("softmax", {"mixer": "softmax"}).fingerprint.startswith("5a299c18eb70ef90")
    assert job("x", PERFORMER).fingerprint.startswith("806da4b6e4aee643")


def test_what_decides_the_outcome_is_in_the_fingerprint_and_names_and_folders_are_not() -> None:
    one = job("a", {"mixer": "softmax"})
    assert job("b", {"mixer": "softmax"}, folder="elsewhere").fingerprint == one.fingerprint
    assert job("a", {"mixer": "softmax"}, seeds=(1,)).fingerprint != one.fingerprint
    assert job("a", {"mixer": "softmax", "depth": 3}).fingerprint != one.fingerprint


def test_another_tokenizer_in_the_place_of_one_is_another_training(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    task = f"text(length=16, path={str(tmp_path / 'text.txt')!r}, tokens={str(tmp_path / 'tokenizer')!r})"
    made = []
    for learned_from in ("the the the quick quick brown", "lazy lazy dog dog dog over"):
        learned_bpe([learned_from], 260).save_pretrained(tmp_path / "tokenizer")
        study = Study(task=task, arms=(Arm("a", {"mixer": "identity"}),), budget=Budget(steps=3))
        [planned] = plan_jobs(study)
        assert isinstance(planned, Job)
        batch = KeptBatches(planned, planned.task.build(0, 2, 2)).__getitems__([0, 1])
        made.append((planned.fingerprint, planned.task.data_hash, batch.tensors["input_ids"].tolist()))
    (one, text, first), (two, same_text, second) = made
    assert one != two
    assert text == same_text  # arms with different tokens are judged on the same data
    assert first != second


def test_sizes_are_in_a_row_once() -> None:
    config = job("a", {"mixer": "softmax"}).empty_row().config
    assert config["width"] > 0
    assert "hidden_size" not in config


def test_files_have_readable_names() -> None:
    made = job("Dense, deep!", {"mixer": "dense"}, seeds=(4,))
    assert made.slug == f"dense-deep-seed4-{made.fingerprint[:6]}"
    assert made.label == "Dense, deep!"
