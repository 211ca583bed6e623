from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from formers.cli.options import read_seeds
from formers.lab import Arm, Study, vary, write_study
from formers.lab.store.records import Results
from formers.lab.study.command_line import arm_command, study_command

Run = Callable[..., Result]
TASK = "shakespeare(length=16, path='words.txt')"
TINY = ["--width", "16", "--depth", "1", "--heads", "2", "--steps", "4", "--batch", "2", "--evaluations", "1"]


def test_ablate_trains_reports_and_does_not_train_again(command: Run, here: Path) -> None:
    words = ["ablate", TASK, "--vary", "mixer=softmax,fourier,pool(window=2)", *TINY, "--folder", "study"]
    first = command(*words)
    assert first.exit_code == 0, first.output
    assert "softmax: 4 steps" in first.output
    assert "fourier: unsupported" in first.output
    assert f"report: {here / 'study' / 'report.html'}" in first.output
    report = json.loads((here / "study" / "report.json").read_text())
    assert "softmax" in json.dumps(report)
    again = command(*words)
    assert again.exit_code == 0, again.output
    assert "4 steps" not in again.output


def test_train_then_generate(command: Run, here: Path) -> None:
    trained = command("train", TASK, "mixer=linear", *TINY, "--folder", "study")
    assert trained.exit_code == 0, trained.output
    assert "model: " in trained.output
    written = command("generate", "study", "--prompt", "how", "--tokens", "9", "--seed", "3")
    assert written.exit_code == 0, written.output
    assert written.output.startswith("how")
    assert len(written.output) == 3 + 9 + 1
    assert command("generate", "study", "--prompt", "how", "--tokens", "9", "--seed", "3").output == written.output
    unknown = command("generate", "study", "--prompt", "Ω")
    assert unknown.exit_code == 2
    assert "does not know the characters" in unknown.output


def test_several_models_in_a_folder_are_named(command: Run, here: Path) -> None:
    for name in "ab":
        (here / "models" / name).mkdir(parents=True)
        (here / "models" / name / "config.json").touch()
    result = command("generate", ".", "--prompt", "x")
    assert result.exit_code == 2
    assert "models/a" in result.output
    assert "models/b" in result.output


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Study]:
    """The studies that commands would have run."""
    studies: list[Study] = []
    for module in ("formers.cli.ablate", "formers.cli.train"):
        monkeypatch.setattr(f"{module}.run_and_show", lambda study, *executor, **track: studies.append(study))
    return studies


def test_the_command_line_is_yaml_is_python(command: Run, here: Path, ran: list[Study]) -> None:
    line = command(
        *["ablate", "shakespeare", "--length", "32", "--vary", "mixer=softmax,linear(feature=relu)"],
        *["--vary", "position=learned,cosine", "--arm", "deep: depth=4, mixer=dense", "--base", "width=32, heads=2"],
        *["--steps", "9", "--seeds", "2", "--folder", "somewhere"],
    )
    assert line.exit_code == 0, line.output
    python = Study(
        task="shakespeare(length=32)",
        arms=(
            *vary(mixer=["softmax", "linear(feature=relu)"], position=["learned", "cosine"]),
            Arm("deep", {"depth": 4, "mixer": "dense"}),
        ),
        base={"width": 32, "heads": 2},
        budget=Study(task="shakespeare").budget.with_steps(9),
        seeds=(0, 1),
        folder=Path("somewhere"),
    )
    write_study(python, "study.yaml")
    assert command("ablate", "study.yaml").exit_code == 0
    assert ran == [python, python]


def test_lengths_to_test_at_are_part_of_every_form(command: Run, here: Path, ran: list[Study]) -> None:
    study = Study(task="sort", arms=[Arm("alibi", {"position": "alibi"})], eval_lengths=("2x", 40), seeds=(3,))
    assert (
        command("ablate", "sort", "--arm", "alibi: position=alibi", "--seeds", "3,", "--eval-length", "2x,40").exit_code
        == 0
    )
    assert command(*shlex.split(study_command(study))[1:]).exit_code == 0
    write_study(study, "study.yaml")
    assert command("ablate", "study.yaml").exit_code == 0
    assert ran == [study, study, study]
    assert command(*shlex.split(arm_command(study, study.arms[0], study.budget, 3))[1:]).exit_code == 0
    assert command("ablate", "study.yaml", "--eval-length", "3x").exit_code == 0
    assert [one.eval_lengths for one in ran[3:]] == [("2x", 40), ("3x",)]


def test_the_table_of_lengths_is_shown(command: Run, here: Path) -> None:
    words = ["ablate", TASK, "--vary", "position=alibi,learned", *TINY, "--folder", "study"]
    shown = command(*words, "--eval-length", "1x,2x")
    assert shown.exit_code == 0, shown.output
    assert "At other lengths" in shown.output
    assert "2× (32)" in shown.output
    assert "cannot" in shown.output
    again = command("report", "study", "--markdown", "ranking.md", "--csv", "runs.csv")
    assert "At other lengths" in again.output
    assert "| arm | 1× (16) | 2× (32) |" in (here / "ranking.md").read_text()
    assert "bits_per_character_at_32" in (here / "runs.csv").read_text()


def test_the_default_study_is_the_tasks(command: Run, ran: list[Study]) -> None:
    assert command("ablate", "sort").exit_code == 0
    assert ran == [Study(task="sort")]


def test_options_change_a_file_too(command: Run, here: Path, ran: list[Study]) -> None:
    write_study(Study(task="sort", folder=Path("there")), "study.yaml")
    assert command("ablate", "study.yaml", "--steps", "7", "--length", "9", "--seeds", "4,").exit_code == 0
    [study] = ran
    assert (study.budget.steps, study.task.length, study.seeds, study.folder) == (7, 9, (4,), Path("there"))


def test_the_commands_a_study_names_mean_the_same_study(command: Run, ran: list[Study]) -> None:
    study = Study(
        task="sort(length=8)",
        arms=(Arm("mine, with 'quotes'", {"mixer": "linear(feature=relu)", "ffn": "mlp(activation=relu)"}),),
        base={"width": 32},
        seeds=(3,),
    )
    assert command(*shlex.split(study_command(study))[1:]).exit_code == 0
    assert command(*shlex.split(arm_command(study, study.arms[0], study.budget, 3))[1:]).exit_code == 0
    whole, one = ran
    assert whole == study
    assert one.config(one.arms[0]).to_dict() == study.config(study.arms[0]).to_dict()
    assert (one.budget, one.seeds, one.task) == (study.budget, study.seeds, study.task)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablate", "shakespear"], "did you mean 'shakespeare'"),
        (["ablate", "sort", "--vary", "mixer=sofmax"], "did you mean 'softmax'"),
        (["ablate", "sort", "--vary", "mixr=softmax"], "did you mean 'mixer'"),
        (["ablate", "sort", "--vary", "mixer=linear(featur=relu)"], "did you mean 'feature'"),
        (["ablate", "sort", "--vary", "softmax"], "name=value"),
        (["ablate", "sort", "--vary", "depth=1", "--vary", "depth=2"], "given twice"),
        (["ablate", "sort", "--arm", "a: dept=2"], "did you mean 'depth'"),
        (["ablate", "sort", "--seeds", "many"], "--seeds"),
        (["ablate", "sort", "--eval-length", "long"], "such as 2x"),
        (["train", "listops", "--eval-length", "2x"], "at its own length only"),
        (["ablate", "sort", "--jobs", "0"], "Invalid value for '--jobs'"),
        (["ablate", "sort", "--jobs", "0", "--dry-run"], "Invalid value for '--jobs'"),
        (["ablate", "sort", "--jobs", "2", "--ray", "local"], "--jobs is for this machine"),
        (["ablate", "sort", "--shard"], "this is a single one; start two of them with `torchrun"),
        (["train", "sort", "--shard"], "this is a single one; start two of them with `torchrun"),
        (["ablate", "sort", "--ray", "local", "--cores", "0"], "Invalid value for '--cores'"),
        (["ablate", "sort", "--steps", "0"], "steps must be positive"),
        (["ablate", "sort", "--width", "30"], "does not divide"),
        (["ablate", "missing.yaml"], "no study at missing.yaml"),
        (["ablate", "sort", "--widt", "3"], "--width"),
        (["train", "shakespeare(path='missing.txt')"], "missing.txt"),
        (["train", "shakespeare", "mixer=fourier"], "causal"),
        (["generate", "nowhere"], "holds no model"),
        (["show", "liner"], "did you mean 'linear'"),
        (["list", "mixr"], "did you mean 'mixer'"),
        (["trian"], "train"),
    ],
)
def test_a_mistake_is_one_message(command: Run, words: list[str], message: str) -> None:
    result = command(*words)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_debug_shows_where_an_error_comes_from(command: Run) -> None:
    result = command("--debug", "ablate", "shakespear")
    assert isinstance(result.exception, ValueError)


def test_an_error_in_the_program_says_so(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("lost")

    monkeypatch.setattr("formers.cli.listing.parts_by_axis", broken)
    result = command("list")
    assert result.exit_code == 1
    assert "--debug shows where" in result.output


def test_list(command: Run) -> None:
    everything = command("list").output
    for name in ("mixer", "softmax", "position", "rotary", "danet", "task", "shakespeare", "sort"):
        assert name in everything
    mixers = command("list", "mixer").output
    assert "softmax" in mixers
    assert "rotary" not in mixers


def test_show(command: Run) -> None:
    page = command("show", "linear").output
    for words in ("linear  (mixer)", "arXiv:2006.16236", "feature = elu()", "streaming", "linear.py"):
        assert words in page
    assert "class Linear(Mixer)" not in page
    assert "class Linear(Mixer)" in command("show", "linear", "--code").output
    assert "length = 16" in command("show", "sort").output


def test_doctor(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    well = command("doctor")
    assert well.exit_code == 0, well.output
    for words in ("torch", "threads", "lab: installed", "attention: auto chose", "softmax: ok"):
        assert words in well.output

    def broken(mixer: str) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr("formers.cli.self_check.check", broken)
    ill = command("doctor")
    assert ill.exit_code == 1
    assert "softmax: RuntimeError: no kernel" in ill.output


def test_list_show_and_doctor_print_json(command: Run) -> None:
    listed = json.loads(command("list", "feature", "--json").output)
    assert listed["feature"]["taylor2"].startswith("φ(q)·φ(k) = 1 + s + s²/2")
    (shown,) = json.loads(command("show", "rotary", "--json").output)
    assert shown["axis"] == "position"
    assert shown["options"]["base"]["default"] == 10000.0
    found = json.loads(command("doctor", "--json").output)
    assert found["check"] == dict.fromkeys(("softmax", "linear", "dense", "pool"), "ok")
    assert found["op"]["attention"]["cpu"]


def test_help_teaches(command: Run) -> None:
    for name in ("ablate", "train", "generate", "list", "show", "doctor"):
        text = command(name, "--help").output
        assert "Usage" in text
        assert f"formers {name}" in text or name == "doctor"
    assert "formers 0." in command("--version").output


@pytest.mark.parametrize("words", [(), ("knn",)])
def test_lists_of_commands_are_whole_sentences(command: Run, words: tuple[str, ...]) -> None:
    """Click cuts off what does not fit the line: a command's first sentence has to."""
    listed = command(*words, "--help").output.partition("Commands:")[2].strip().splitlines()
    assert listed
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize(("text", "seeds"), [("3", (0, 1, 2)), ("4,7", (4, 7)), ("5,", (5,))])
def test_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert read_seeds(text) == seeds


def test_a_library_without_the_lab_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as u\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name in ('typer', 'mlflow') else found(name, *a)\n"
        "from formers.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "pip install 'formers[lab]'" in done.stderr
    assert "typer, mlflow" in done.stderr


def test_the_installed_command_starts_quickly_and_takes_debug_anywhere(tmp_path: Path) -> None:
    program = "from formers.cli import main; main()"
    words = [sys.executable, "-c", program, "show", "liner", "--debug"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ}, check=False)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    words = [sys.executable, "-X", "importtime", "-c", program, "--help"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert " torch" not in done.stderr


def test_nothing_but_the_study_speaks(here: Path) -> None:
    program = "from formers.cli import main; main()"
    words = [sys.executable, "-c", program, "ablate", "sort(length=8)", "--vary", "mixer=softmax", *TINY]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*words, "--folder", "study"], capture_output=True, text=True, cwd=here, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("softmax: 4 steps\n")
    assert done.stdout.splitlines()[-1].startswith("report: ")


def test_stopping_says_how_to_go_on(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from formers.lab import Stopped

    def stopped(study: Study, *given: object) -> Results:
        raise Stopped("stopped: go on with: formers ablate x")

    monkeypatch.setattr("formers.lab.run_study.run", stopped)
    result = command("ablate", "sort")
    assert result.exit_code == 130
    assert "go on with" in result.output


def test_a_short_training_is_evaluated_in_proportion(command: Run, ran: list[Study]) -> None:
    for options in (["--steps", "150"], ["--steps", "150", "--evaluations", "5"], []):
        assert command("train", "shakespeare", *options).exit_code == 0
    assert [study.budget.evaluations for study in ran] == [2, 5, 5]


def test_short_arms_are_evaluated_in_proportion(command: Run, ran: list[Study], tmp_path: Path) -> None:
    for options in (["--steps", "300"], ["--steps", "300", "--evaluations", "5"], ["--lr", "1e-3"]):
        assert command("ablate", "shakespeare", *options).exit_code == 0
    file = tmp_path / "study.yaml"
    file.write_text("task: shakespeare\nbudget: {steps: 100, evaluations: 10}\n", encoding="utf-8")
    for options in (["--steps", "50"], ["--steps", "300"], []):
        assert command("ablate", str(file), *options).exit_code == 0
    assert [study.budget.evaluations for study in ran] == [2, 5, 5, 5, 10, 10]
