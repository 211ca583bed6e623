"""Requests of the harness, answered without the harness: what is asked, in which pieces, and in which order."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from formers.evaluation import harness
from formers.evaluation.harness_model import HarnessModel, encoded_pair, text_windows
from formers.evaluation.likelihood import LikelihoodRequest

from .small_models import CHARACTERS, CODER, text_model

TEXT = "the cat sat on the mat and the dog ran to the end of the road."


def request(*args: Any) -> SimpleNamespace:
    return SimpleNamespace(args=args)


def test_spaces_before_an_answer_belong_to_it() -> None:
    model = text_model("softmax")
    context, tokens = encoded_pair(model, "the cat  ", "sat")
    assert (CODER.decode(context), CODER.decode(tokens)) == ("the cat", "  sat")
    assert encoded_pair(model, "", "sat") == LikelihoodRequest([], CODER.encode("sat"))


def test_each_token_of_a_text_is_predicted_once_after_as_many_as_there_is_room_for() -> None:
    model = text_model("linear")
    windows = text_windows(model, TEXT)
    assert "".join(CODER.decode(one.tokens) for one in windows) == TEXT
    assert [len(one.context) + len(one.tokens) for one in windows] == [16, 17, 17, 17]
    assert windows[0].context == []
    for one in windows[1:]:
        assert CODER.decode([*one.context, *one.tokens]) in TEXT
    assert text_windows(model, "") == []


def test_a_memory_reads_a_text_as_one() -> None:
    model = text_model("recurrent")
    [(context, tokens)] = text_windows(model, TEXT)
    assert (context, CODER.decode(tokens)) == ([], TEXT)


@torch.no_grad()
def test_a_whole_text_is_as_likely_as_its_windows() -> None:
    model, short = text_model("linear"), "a cat."
    found = HarnessModel(model).loglikelihood_rolling([request(short), request(""), request(TEXT)])
    ids = torch.tensor([[CODER.start, *CODER.encode(short)]])
    log_p = model.model(input_ids=ids[:, :-1]).logits.log_softmax(-1).gather(-1, ids[:, 1:, None])
    assert found[0] == pytest.approx(float(log_p.sum()), abs=1e-4)
    assert found[1] == 0.0
    assert found[2] < found[0] - math.log(len(CHARACTERS))


def test_answers_come_in_the_order_of_the_requests_and_each_is_written_down() -> None:
    kept, progress = dict[Any, Any](), list[tuple[int, int]]()
    model = HarnessModel(text_model("linear"), lambda done, whole: progress.append((done, whole)))
    model.set_cache_hook(SimpleNamespace(add_partial=lambda kind, args, answer: kept.update({(kind, args): answer})))
    requests = [request("the cat", " sat on it"), request("a", " dog"), request("a", " cat")]
    found = model.loglikelihood(requests)
    assert [kept["loglikelihood", one.args] for one in requests] == found
    again = [*model.loglikelihood(requests[:1]), *model.loglikelihood(requests[1:])]
    assert [nats for nats, _ in found] == pytest.approx([nats for nats, _ in again], abs=1e-4)
    assert progress[:3] == [(1, 3), (2, 3), (3, 3)]
    assert model.cut == 0
    model.loglikelihood([request("x" * 40, " y")])
    assert model.cut == 1


def test_without_the_harness_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'formers\[eval\]'"):
        harness.require_harness()
