"""What the docs say about the code is what the code says."""

import inspect
import json
import re
import textwrap
from pathlib import Path

import jsonschema
import pytest
import torch
import yaml

import formers.ops

ROOT = Path(__file__).parent.parent


def test_generated_docs_are_up_to_date(python):
    done = python.run(ROOT / "docs" / "generate.py", "--check", cwd=ROOT)
    assert done.returncode == 0, done.out + done.err


def test_readme_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = re.search(r"## In Python\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    exec(code, {})
    assert (tmp_path / "my-model" / "config.json").exists()
    assert capsys.readouterr().out.strip()


def test_example_of_the_ops_runs():
    code = re.search(r"\n((?:    .*\n|\n)+)", formers.ops.__doc__).group(1)
    found = {}
    exec(textwrap.dedent(code), found)
    assert found["y_next"].shape == (2, 4, 1, 32)
    assert found["y"].shape == (2, 128, 64)


@pytest.mark.parametrize("name", ["CausalLM", "MaskedLM", "SequenceClassifier", "Transformer"])
def test_examples_of_the_models_run(name):
    code = re.search(r"\n\n((?:    .*\n)+)", inspect.getdoc(getattr(formers, name)) + "\n").group(1)
    exec(textwrap.dedent(code), {"torch": torch} | {known: getattr(formers, known) for known in formers.__all__})


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_schema_takes_every_study_file_here_and_refuses_what_the_reader_refuses():
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / "docs" / "study.schema.json").read_text()))
    example = re.search(r"```yaml\n(task.*?)```", (ROOT / "docs" / "study-files.md").read_text(), re.S).group(1)
    texts = [example, *(path.read_text() for path in (ROOT / "docs" / "studies").glob("*.yaml"))]
    for text in texts:
        validator.validate(yaml.safe_load(text))
    for wrong in ({"task": "sort", "seed": 3}, {"arms": {}}, {"task": "sort", "match": "size"}, {"task": 3}):
        assert not validator.is_valid(wrong)
