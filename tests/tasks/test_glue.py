from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from formers.tasks import Glue, parse
from formers.tasks import glue as module
from formers.tasks.glue import matthews

PAIRS = {"qnli": ("question", "sentence"), "rte": ("sentence1", "sentence2")}


def written(home: Path, task: str, count: int = 80) -> Path:
    """A tiny copy in GLUE's layout; texts with quotes, as the real ones have."""
    home.mkdir(exist_ok=True)
    for name, size in (("train", count), ("dev", 10)):
        if task == "cola":
            lines = [f"gj04\t{i % 2}\t{'' if i % 2 else '*'}\tIt's {name} \"{i}." for i in range(size)]
        elif task == "sst2":
            lines = ["sentence\tlabel", *(f'a "{name} film {i}\t{i % 2}' for i in range(size))]
        else:
            labels = ["entailment", "not_entailment"]
            lines = ["\t".join(("index", *PAIRS[task], "label"))]
            lines += [f'{i}\tWho "{name} {i}?\tThe {i}.\t{labels[i % 2]}' for i in range(size)]
        (home / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return home


@pytest.mark.parametrize("task", ["cola", "qnli", "rte", "sst2"])
def test_a_copy_in_glues_layout(tmp_path: Path, task: str) -> None:
    data = Glue(task=task, path=str(written(tmp_path / task, task))).data
    assert len(data.test.ids) == 10
    assert len(data.train.ids) + len(data.validation.ids) == 80
    assert all("dev" in record.content for record in data.test.records)
    assert data.test.labels.tolist() == [0, 1] * 5
    assert len(data.test.records[0].texts) == (2 if task in PAIRS else 1)
    assert '"' in data.test.records[0].content


def test_other_layouts(tmp_path: Path) -> None:
    cola = written(tmp_path / "cola", "cola")
    (cola / "train.tsv").rename(cola / "in_domain_train.tsv")
    (cola / "out_of_domain_dev.tsv").write_text("cj99\t1\t\tOut of the dev domain.\n")
    assert len(Glue(task="cola", path=str(cola)).data.test.ids) == 11
    qnli = written(tmp_path / "qnli", "qnli")
    (qnli / "train.tsv").unlink()
    for part in range(2):
        pairs = {str(i): {"text_a": f"Q {part} {i}?", "text_b": "S.", "label": "entailment"} for i in range(50)}
        (qnli / f"train_part{part}.json").write_text(json.dumps(pairs))
    data = Glue(task="qnli", path=str(qnli)).data
    assert len(data.train.ids) + len(data.validation.ids) == 100


def test_matthews_by_hand_and_by_another_formula() -> None:
    found, labels = torch.tensor([1, 1, 0, 0, 1, 0]), torch.tensor([1, 0, 0, 0, 1, 1])
    assert matthews(found, labels) == pytest.approx((2 * 2 - 1 * 1) / 9)
    torch.manual_seed(0)
    found, labels = torch.randint(2, (2, 500))
    assert matthews(found, labels) == pytest.approx(torch.corrcoef(torch.stack([found, labels]).double())[0, 1].item())
    assert matthews(torch.ones(4), torch.tensor([1, 0, 1, 1])) == 0.0
    assert matthews(labels, labels) == pytest.approx(1)
    assert matthews(1 - labels, labels) == pytest.approx(-1)


def test_each_task_has_its_metric(tmp_path: Path) -> None:
    cola, sst2 = (Glue(task=t, path=str(written(tmp_path / t, t))) for t in ("cola", "sst2"))  # type: ignore[arg-type]
    assert cola.metric.name == "matthews_correlation"
    assert sst2.metric.name == "accuracy"
    assert cola.references() == {"majority": 0.0}
    assert sst2.references() == {"majority": 0.5}
    assert "grammatical" in cola.description


def test_texts_of_one_split_are_in_no_other(tmp_path: Path) -> None:
    data = Glue(task="sst2", path=str(written(tmp_path / "sst2", "sst2"))).data
    train, validation = ({r.content for r in part.records} for part in (data.train, data.validation))
    assert validation
    assert not train & validation


def test_the_spelling_of_the_command_line() -> None:
    assert parse("glue/cola") == Glue(task="cola") == parse("glue(task=cola)") == parse(str(Glue(task="cola")))
    assert parse("glue/rte(length=128)") == Glue(task="rte", length=128)
    with pytest.raises(TypeError, match="one of 'cola', 'qnli', 'rte', 'sst2'"):
        parse("glue/mnli")
    with pytest.raises(ValueError, match="did you mean 'glue'"):
        parse("glu/cola")


def test_where_it_looked_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"FORMERS_DATA is not set.*CoLA\.zip.*path='hub'"):
        Glue(task="cola").base()
    with pytest.raises(FileNotFoundError, match=r"has no train\*\.tsv or train\*\.json"):
        Glue(task="rte", path=str(tmp_path)).base()


def test_a_wrong_label_is_named(tmp_path: Path) -> None:
    home = written(tmp_path / "sst2", "sst2")
    (home / "dev.tsv").write_text("sentence\tlabel\ngood\t2\n")
    with pytest.raises(ValueError, match="must be 0 or 1, but '2' was found"):
        Glue(task="sst2", path=str(home)).base()


def test_from_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(repo: str, file: str) -> list[dict[str, object]]:
        assert repo == "nyu-mll/glue"
        return [{"sentence1": f"{file} {i}", "sentence2": "x", "label": i % 2} for i in range(60)]

    monkeypatch.setattr(module, "hub_rows", rows)
    data = Glue(task="rte", path="hub").data
    assert data.classes == ("entailment", "not_entailment")
    assert data.test.records[0].texts == ("rte/validation-00000-of-00001.parquet 0", "x")
    assert data.test.labels.tolist() == [0, 1] * 30


@pytest.mark.parametrize(
    ("task", "train", "validation", "test"),
    [
        ("cola", 7644, 907, 1043),
        ("rte", 2252, 238, 277),
        ("qnli", 9025, 974, 5463),
        pytest.param("sst2", 60544, 1024, 872, marks=pytest.mark.slow),
    ],
)
def test_the_real_sets(real: Path, task: str, train: int, validation: int, test: int) -> None:
    data = Glue(task=task, vocabulary=str(real / "bert-vocab" / "vocab.txt")).data  # type: ignore[arg-type]
    assert [len(part.ids) for part in (data.train, data.validation, data.test)] == [train, validation, test]
    assert len(data.vocabulary) == 30522
