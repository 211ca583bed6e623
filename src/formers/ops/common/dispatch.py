"""Which implementation of an op runs: the one asked for, or, with `auto`, the first on the device's list that can.

Each op makes one `_Forms` beside its public function. A form says for which inputs it cannot run (`unsupported_reasons`); the
preference lists, fastest first, which forms `auto` tries on a device. A kernel for another device (Triton on "cuda", say) is a
file beside the others in the op's folder and one more `_Form` at the head of that device's list.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

_Result = TypeVar("_Result")
_log = logging.getLogger("formers.ops")


def _runs_everywhere(inputs: Any) -> list[str]:
    """Return no reasons: for a form that takes whatever its op takes."""
    return []


@dataclass(frozen=True)
class _Form(Generic[_Result]):
    """One implementation of an op.

    Attributes:
        name: what `impl=` calls it: "naive" from the formula, "torch", "flex", "triton", …
        run: the function; it takes the fields of the op's inputs, in order.
        unsupported_reasons: takes the op's inputs (a NamedTuple) and returns why the form cannot run on them, a sentence
            each; none if it can.
    """

    name: str
    run: Callable[..., _Result]
    unsupported_reasons: Callable[[Any], list[str]] = _runs_everywhere


class _Forms(Generic[_Result]):
    """The forms of one op and, for each type of device, the order in which `auto` tries them.

    Args:
        op: the op's name, for messages.
        forms: its implementations.
        preference: device type → names of forms, fastest first. Devices that are not listed use the order of "cpu".

    Raises ValueError for a preference that names no form.
    """

    registry: dict[str, _Forms[Any]] = {}  # noqa: RUF012
    "Every op's forms, by its name, for `formers doctor` and the tests."

    def __init__(self, op: str, *forms: _Form[_Result], preference: Mapping[str, Sequence[str]]):
        self.op = op
        self.forms = {form.name: form for form in forms}
        self.preference = {device: tuple(names) for device, names in preference.items()}
        unknown = {name for names in self.preference.values() for name in names} - self.forms.keys()
        if unknown or "cpu" not in self.preference:
            raise ValueError(f"{op}: the preference needs a list for 'cpu' and names no form {sorted(unknown)}")
        _Forms.registry[op] = self

    def choose(self, impl: str, inputs: Any, device: torch.device) -> _Form[_Result]:
        """Return the form named `impl`; for "auto" the first of the device's list without a reason against it, and log it.

        Raise ValueError, with the reasons, for a name that is unknown, a form that cannot run on these inputs, or inputs
        on which no form of the list can.
        """
        if impl != "auto":
            return self._named(impl, inputs)
        against = []
        for name in self.preference.get(device.type, self.preference["cpu"]):
            form = self.forms[name]
            reasons = form.unsupported_reasons(inputs)
            if not reasons:
                if not torch.compiler.is_compiling():  # a log call would break the graph
                    _log.debug("%s: auto chose impl %r", self.op, name)
                return form
            against.append(f"{name}: {'; '.join(reasons)}")
        raise ValueError(f"{self.op} has no form on {device.type} for these inputs: {'. '.join(against)}")

    def _named(self, impl: str, inputs: Any) -> _Form[_Result]:
        if impl not in self.forms:
            raise ValueError(f"{self.op} has no impl {impl!r}; available: 'auto', {', '.join(map(repr, self.forms))}")
        form = self.forms[impl]
        if reasons := form.unsupported_reasons(inputs):
            raise ValueError(f"{self.op}: impl {impl!r} cannot run on these inputs: {'; '.join(reasons)}")
        return form


def pick(op: str, impl: str, forms: Mapping[str, Callable[..., _Result]]) -> Callable[..., _Result]:
    """Return the form named `impl`; for "auto" the first of `forms`, and log it. Raise ValueError for an unknown name."""
    name = next(iter(forms)) if impl == "auto" else impl
    if name not in forms:
        raise ValueError(f"{op} has no impl {impl!r}; available: 'auto', {', '.join(map(repr, forms))}")
    if impl == "auto" and not torch.compiler.is_compiling():  # a log call would break the graph
        _log.debug("%s: auto chose impl %r", op, name)
    return forms[name]
