from __future__ import annotations

import json

import pytest

from formers.machine.sealed_json import DamagedJson, json_from_text, sealed, unsealed


def test_a_change_is_noticed_and_no_digest_is_an_earlier_version() -> None:
    data = {"a": [1, 2.5, None, "ü\ud800"], "b": {"c": True}}
    written = json.loads(json.dumps(sealed(data)))
    assert unsealed(written) == data == unsealed(data)
    for change in ({"a": []}, {"b": {"c": 1}}, {"d": None}, {"sha256": ""}, {"sha256": None}):
        with pytest.raises(DamagedJson, match="does not fit its sha256"):
            unsealed({**written, **change})


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, '{"a":' * 10**5, "1" * 10**5, "nul"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(DamagedJson):
        unsealed(json_from_text(text))
