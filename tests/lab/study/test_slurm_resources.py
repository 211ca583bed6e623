"""What a job of a Slurm cluster is given: in text, in YAML, and as a value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from formers.lab import SlurmResources, Study, read_study, write_study
from formers.lab.study.slurm_resources import read_resources

GIVEN = SlurmResources(
    partition="gpu,spare", gpus=1, cores=4, memory="16G", time="1-12:00:00", setup=("module load cuda", "export A=1")
)


@pytest.mark.parametrize(
    ("time", "minutes"),
    [
        *[("4h", 240), ("90m", 90), ("2d", 2880), ("1h30m", 90), ("1.5 h", 90), ("1h 1min", 61)],
        *[("4:00:00", 240), ("0:00:30", 1), ("1-12:00:00", 2160), ("1-12", 2160), ("2-00:30", 2910)],
    ],
)
def test_times_are_read_as_people_and_slurm_write_them(time: str, minutes: int) -> None:
    assert SlurmResources(time=time).minutes == minutes


@pytest.mark.parametrize("time", ["", "4", "4:00", "soon", "0m", "900d", "-1h", "4h x"])
def test_other_times_are_refused(time: str) -> None:
    with pytest.raises(ValueError, match=r"slurm: time is "):
        SlurmResources(time=time)


def test_the_text_means_the_same() -> None:
    assert SlurmResources.parse(GIVEN.text) == GIVEN
    assert SlurmResources.parse("auto") == SlurmResources() == SlurmResources.parse(SlurmResources().text)
    several = SlurmResources.parse("partition=a,b, sbatch=--exclude=n1,n2 --nice, time=4h")
    assert (several.partition, several.minutes) == ("a,b", 240)
    assert several.sbatch_options == {"exclude": "n1,n2", "nice": True}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gpus": -1}, "gpus is from 0 to 1,024"),
        ({"cores": 0}, "cores is from 1"),
        ({"gpus": "two"}, "gpus is a whole number"),
        ({"gpus": True}, "gpus is a whole number"),
        ({"time": 14400}, r"time is a text with its unit, 4h or '4:00:00' in quotes, but 14400"),
        ({"memory": 16}, "memory is a text with its unit, 16G"),
        ({"memory": "16"}, "memory is a number with its unit, 16G"),
        ({"setup": 3}, "setup is a list of lines of shell"),
        ({"sbatch": "exclude=n1"}, r"options as --name=value, but 'exclude=n1'"),
        ({"sbatch": "--a='b"}, "cannot be taken apart"),
    ],
)
def test_what_slurm_could_not_read_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        SlurmResources(**options)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu", "'gpu' is no option; expected auto, off, or options such as 'partition=gpu"),
        ("partion=gpu", "did you mean 'partition'"),
        ("gpus=1, gpus=2", "gpus is given twice"),
        ("gpus=one", "gpus is a whole number"),
    ],
)
def test_wrong_texts_are_refused(text: str, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        SlurmResources.parse(text)


@pytest.mark.parametrize("slurm", [None, SlurmResources(), GIVEN])
def test_a_file_means_the_same_and_another_place_is_no_other_study(
    small: Study, tmp_path: Path, slurm: SlurmResources | None
) -> None:
    study = replace(small, slurm=slurm)
    write_study(study, tmp_path / "study.yaml")
    assert read_study(tmp_path / "study.yaml").slurm == slurm
    assert study.content_hash == small.content_hash


def test_yaml_takes_a_mapping_or_a_text() -> None:
    assert read_resources({"gpus": 1}) == read_resources("gpus=1") == SlurmResources(gpus=1)
    assert read_resources(False) is read_resources("off") is None  # YAML takes off for false
    with pytest.raises(ValueError, match="slurm is a mapping"):
        read_resources(3)
    with pytest.raises(TypeError, match="did you mean 'memory'"):
        read_resources({"memroy": "16G"})
