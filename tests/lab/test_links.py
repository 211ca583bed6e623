"""Symbolic links that lie where a study writes: what they point to is not touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from formers.lab import Study, run
from formers.lab.plan.jobs import plan_jobs
from formers.lab.train.job import Job


def test_nothing_is_written_through_a_link(one_arm: Study, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    [job] = plan_jobs(one_arm)
    assert isinstance(job, Job)
    folder, training = one_arm.folder, job.checkpoint_folder
    names = [
        "report.html",
        "report.json",
        "study.yaml",
        ".study.yaml.part",
        ".opened",
        f".study.yaml.{os.getpid()}.part",
    ]
    links = [folder / name for name in names]
    links += [training / name for name in ("attempt.json", "best.safetensors", "best.part")]
    links += [training / "checkpoint-2" / name for name in ("model.safetensors", "trainer_state.json", "complete.json")]
    for link in links:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(precious)
    (training / "checkpoint-4").symlink_to(tmp_path, target_is_directory=True)
    [row] = run(one_arm).rows
    assert row.status == "finished", row.cause
    assert precious.read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"precious", "study"}


@pytest.mark.parametrize("name", [".lock"])
def test_a_link_in_the_place_of_the_lock_is_refused(one_arm: Study, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious").write_text("mine")
    (one_arm.folder / name).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="cannot keep a lock in"):
        run(one_arm)
    assert (tmp_path / "precious").read_text() == "mine"
