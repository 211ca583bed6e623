"""`formers eval` through lm-evaluation-harness itself, on local tasks: the recipe of docs/evaluation.md, and each kind
of request against one text at a time."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from typer.testing import CliRunner, Result

from formers.cli.app import app
from formers.evaluation.harness import load_tasks, run_tasks
from formers.evaluation.likelihood import LikelihoodRequest, log_likelihoods
from formers.evaluation.text_model import TextModel
from formers.evaluation.writing import Writing, continuations
from formers.tasks.corpus.tokenizer_kinds import byte_tokenizer

from .small_models import CHARACTERS, CHOICES, CODER, causal_lm, text_model

pytestmark = pytest.mark.harness
ROWS = [
    {"before": "the cat ", "choices": ["sat on it", "ran"], "right": 0},
    {"before": "a dog that ", "choices": ["xyz", "ran to the end"], "right": 1},
    {"before": "it is ", "choices": ["so", "zzz"], "right": 0},
]
KINDS = {
    "choice": """output_type: multiple_choice
doc_to_text: "{{before}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{right}}"
target_delimiter: ""
metric_list: [{metric: acc}]""",
    "writing": """output_type: generate_until
doc_to_text: "{{before}}"
doc_to_target: "{{choices[right]}}"
generation_kwargs: {until: ["q"], max_gen_toks: 4}
metric_list: [{metric: exact_match}]""",
    "prose": """output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{before}}"
metric_list: [{metric: bits_per_byte}]""",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with `tasks/`, whose data a model that writes finds its own words in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    for name, text in KINDS.items():
        head = f"task: {name}\ndataset_path: json\ntest_split: test\nmetadata: {{version: 2}}\n"
        data = f"dataset_kwargs: {{data_files: {{test: {tmp_path}/tasks/rows.jsonl}}}}\n"
        (tmp_path / "tasks" / f"{name}.yaml").write_text(head + data + text + "\n")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["eval", *words])


def saved(folder: Path, name: str) -> Path:
    causal_lm(**CHOICES[name]).save_pretrained(folder)
    CHARACTERS.save(folder)
    return folder


def encoded(text: str) -> list[int]:
    return CODER.encode(text)


def direct(model: TextModel) -> dict[str, float]:
    """The three tasks' results, from one text at a time."""
    right, bits, size = 0, 0.0, 0
    for row in ROWS:
        before: Any = encoded(row["before"].rstrip())  # type: ignore[attr-defined]
        asked = [LikelihoodRequest(before, encoded(f" {choice}")) for choice in row["choices"]]  # type: ignore[attr-defined]
        nats = [next(iter(log_likelihoods(model, [one])))[1].nats for one in asked]
        right += nats.index(max(nats)) == row["right"]
        [(_, whole)] = log_likelihoods(model, [LikelihoodRequest([], encoded(str(row["before"])))])
        bits, size = bits - whole.nats / math.log(2), size + len(str(row["before"]))
    return {"choice": right / len(ROWS), "prose": bits / size}


@pytest.mark.parametrize("name", ["softmax", "linear", "window", "recurrent"])
def test_every_kind_of_request_gives_what_one_text_at_a_time_gives(here: Path, name: str) -> None:
    model = text_model(name)
    model = TextModel.of(model.model, CODER, length=40)
    written = [next(iter(continuations(model, [encoded(str(row["before"]))], Writing(tokens=4))))[1] for row in ROWS]
    rows = [row | {"choices": [one.text.split("q")[0]] * 2} for row, one in zip(ROWS, written, strict=True)]
    (here / "tasks" / "written.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = (here / "tasks" / "writing.yaml").read_text().replace("rows.jsonl", "written.jsonl")
    (here / "tasks" / "writing.yaml").write_text(task)
    results, cut = run_tasks(model, load_tasks([*KINDS], [here / "tasks"]))
    found = {one.task: next(iter(one.metrics.values())).value for one in results}
    assert found == pytest.approx(direct(model) | {"writing": 1.0}, abs=1e-5)
    assert cut == 0


def test_the_recipe_of_the_documentation(here: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    files = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["my-tasks/endings.jsonl", "my-tasks/endings.yaml"]
    for name, text in files:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 24, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=257, max_position_embeddings=64, **sizes)).save_pretrained(here / "model")
    byte_tokenizer().save_pretrained(here / "model")
    done = run("model", "--tasks", "endings", "--include", "my-tasks", "--mixer", "window(8) | sinks(2)", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.output)
    assert report["tasks"]["endings"]["metrics"]["acc"]["value"] in (0.0, 0.25, 0.5, 0.75, 1.0)
    assert (report["mixer"], report["settings"]["length"]) == ("window(8) | sinks(2)", 64)
    [file] = (here / "model/evaluation").iterdir()
    assert re.fullmatch(r"endings-include-my-tasks-mixer-window-8-sinks-2-[0-9a-f]{6}\.json", file.name)
    assert json.loads(file.read_text()) == report


def test_a_table_and_results_in_the_folder_of_the_model(here: Path) -> None:
    saved(here / "model", "linear")
    done = run("model", "--tasks", "choice,prose", "--include", "tasks", "--limit", "2")
    assert done.exit_code == 0, done.output
    assert re.search(r"choice +acc ↑ +[01]\.\d{4} +0\.\d{4} +2 of 3 +0", done.output)
    [file] = (here / "model/evaluation").iterdir()
    assert re.fullmatch(r"choice\+prose-limit2-include-tasks-[0-9a-f]{6}\.json", file.name)
    report = json.loads(file.read_text())
    assert report["tasks"]["choice"]["examples"] == 2
    assert report["tasks"]["prose"]["version"] == "2"
    assert report["cut"] == 1  # the dog that ran to the end
    assert "longer than the 16 tokens that the model reads, lost their beginning: 1" in done.output
    assert report["environment"]["lm_eval"]


def test_what_was_stopped_goes_on_where_it_stopped(here: Path) -> None:
    model, tasks = text_model("linear", batch=1), load_tasks(["choice"], [here / "tasks"])
    answers = here / "answers.db"

    def stop(done: int, whole: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(model, tasks, answers=answers, progress=stop)
    left = list[int]()
    tasks = load_tasks(["choice"], [here / "tasks"])
    results, _ = run_tasks(model, tasks, answers=answers, progress=lambda done, whole: left.append(whole))
    assert left == [2, 2]
    assert results == run_tasks(model, load_tasks(["choice"], [here / "tasks"]))[0]


def test_shots_stand_before_questions(here: Path) -> None:
    path = here / "tasks" / "choice.yaml"
    path.write_text(path.read_text().replace("test_split: test", "test_split: test\nfewshot_split: test"))
    [task] = load_tasks(["choice"], [here / "tasks"], shots=1)["tasks"].values()
    results, _ = run_tasks(TextModel.of(causal_lm(position="none"), CODER, length=99), {"tasks": {"choice": task}})
    assert results[0].shots == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "choise"], "did you mean 'choice'"),
        (["--tasks", " , "], "--tasks names no task"),
        (["--tasks", "choice", "--include", "nowhere"], "there is no such folder"),
        (["--tasks", "gone"], "the data of gone is not there"),
        (["--tasks", "hub"], "read from the Hugging Face hub, which did not give it"),
        (["--tasks", "broken"], "broken cannot be loaded"),
    ],
)
def test_what_cannot_be_asked_is_said(here: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from lm_eval.tasks import TaskManager

    usual = TaskManager.__init__

    def local(self: Any, *args: Any, **options: Any) -> None:
        usual(self, *args, **options | {"include_defaults": False})  # the harness' own take ten seconds to list

    def unreachable(path: str, *args: Any, **options: Any) -> Any:
        if path == "json":
            raise FileNotFoundError("Unable to find '/gone.jsonl'")
        raise ConnectionError(f"Couldn't reach {path!r} on the Hub")

    monkeypatch.setattr(TaskManager, "__init__", local)
    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    saved(here / "model", "linear")
    (here / "tasks" / "gone.yaml").write_text((here / "tasks" / "choice.yaml").read_text().replace("choice", "gone", 1))
    hub = KINDS["prose"] + "\ndataset_path: owner/name\ntest_split: test\n"
    (here / "tasks" / "hub.yaml").write_text(f"task: hub\n{hub}")
    (here / "tasks" / "broken.yaml").write_text(f"task: broken\nunknown_key: 3\n{hub}")
    done = run("model", "--include", "tasks", *words)
    assert done.exit_code == 2, done.output
    assert said in done.output
