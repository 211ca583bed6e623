"""How steps are computed: what identifies a study, what a file and a command line say of it."""

import pytest

from formers.lab.study.arm import Arm
from formers.lab.study.command_line import arm_command, study_command
from formers.lab.study.compute import Compute
from formers.lab.study.study import Study
from formers.lab.study.yaml import read_study, write_study

GIVEN = {"device": "cpu", "precision": "bf16", "compile": True, "accumulate": 2, "checkpointing": True}


def study(**compute):
    return Study(task="sort", arms=(Arm("base", {}),), compute=Compute(**compute))


def test_precision_identifies_a_study_and_the_rest_does_not():
    plain = study()
    assert study(device="cpu", compile=True, accumulate=2, checkpointing=True).content_hash == plain.content_hash
    assert study(precision="bf16").content_hash != plain.content_hash
    assert "precision" not in plain.to_dict()


def test_a_file_holds_it(tmp_path):
    made = study(**GIVEN)
    write_study(made, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml").compute == made.compute
    write_study(study(), tmp_path / "plain.yaml")
    assert not {*GIVEN} & {line.partition(":")[0] for line in (tmp_path / "plain.yaml").read_text().splitlines()}


def test_commands_hold_it():
    words = "--device cpu --precision bf16 --compile --accumulate 2 --checkpointing"
    made = study(**GIVEN)
    assert words in study_command(made)
    assert words in arm_command(made, made.arms[0], made.budget, 0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "bf61"}, "bf16"),
        ({"device": "gpu"}, "did you mean 'cuda'"),
        ({"compile": 1}, "true or false"),
        ({"accumulate": 0}, "at least 1"),
        ({"accumulate": "2"}, "whole number"),
        ({"accumulate": 7}, "cannot be cut into 7 equal parts"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        study(**wrong)


def test_memory_that_is_handed_on_takes_whole_batches():
    with pytest.raises(ValueError, match="hands the memory of a row on"):
        Study(task="shakespeare(contiguous=true)", compute=Compute(accumulate=2))
