"""From text to subjects: `softmax`, `performer(features=128)`, `sdpa`, `pip:linformer`."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from formers.bench.subjects.mixer import MixerSubject
from formers.bench.subjects.other_libraries import PACKAGES, PREFIX, PackageSubject
from formers.bench.subjects.sdpa import NAME, SdpaSubject
from formers.bench.subjects.subject import Subject
from formers.mixers import Mixer
from formers.part import quoted


def parse_subject(text: str) -> Subject:
    """Return the subject that a text means. Raise ValueError or TypeError with the nearest name where there is none."""
    text = text.strip()
    if text == NAME:
        return SdpaSubject()
    if text.startswith(PREFIX):
        return _package(text)
    if get_close_matches(text, [NAME], cutoff=0.7):
        raise ValueError(f"there is no mixer {text!r}; did you mean {NAME!r}?")
    return MixerSubject(Mixer.parse(text))


def parse_subjects(texts: Sequence[str]) -> tuple[Subject, ...]:
    """Return several subjects; one that is given twice is timed once."""
    return tuple({subject.name: subject for subject in map(parse_subject, texts)}.values())


def _package(text: str) -> PackageSubject:
    """Return another library's mixer."""
    package = text.removeprefix(PREFIX)
    if package in PACKAGES:
        return PackageSubject(package, PACKAGES[package])
    near = get_close_matches(package, PACKAGES, n=1)
    hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + name for name in PACKAGES)}"
    raise ValueError(f"no peer is called {quoted(text)}; {hint}")
