"""What a part is (`Part`), where it is built (`Site`), and what it remembers (`State`)."""

from formers.part.json_form import value_json
from formers.part.member import default_of
from formers.part.option_types import alternatives, describe
from formers.part.part import ABILITIES, Part
from formers.part.site import Site
from formers.part.state import State
from formers.part.text import value_text
from formers.part.unsupported import Unsupported, check_names

__all__ = [
    "ABILITIES",
    "Part",
    "Site",
    "State",
    "Unsupported",
    "alternatives",
    "check_names",
    "default_of",
    "describe",
    "value_json",
    "value_text",
]
