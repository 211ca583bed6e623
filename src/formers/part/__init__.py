"""Parts (`Part`), where they are built (`Site`), what their modules remember (`State`) and share (`SharingModule`)."""

from formers.part.annotations import option_hints
from formers.part.auxiliary_losses import CollectedLosses, add_loss, collect_losses, refuse_losses, weighted_losses
from formers.part.evaluating import eval_mode, evaluating
from formers.part.initial_scale import check_init
from formers.part.json_form import value_json
from formers.part.member import default_of, members_in
from formers.part.nesting import check_nesting
from formers.part.option_types import alternatives, describe
from formers.part.own_files import load_parts, own_code, own_kinds
from formers.part.part import ABILITIES, Part
from formers.part.plain_linear import is_plain_linear
from formers.part.quoted import quoted, shortened
from formers.part.seeded import seeded
from formers.part.sharing import SharingModule, layers_share, share_across_layers, weights_of
from formers.part.site import Site
from formers.part.state import State
from formers.part.state_tree import state_from_tree, state_tree
from formers.part.text import parse_value, value_text
from formers.part.unsupported import Unsupported, check_names
from formers.part.warning import warn_caller

__all__ = [
    "ABILITIES",
    "CollectedLosses",
    "Part",
    "SharingModule",
    "Site",
    "State",
    "Unsupported",
    "add_loss",
    "alternatives",
    "check_init",
    "check_names",
    "check_nesting",
    "collect_losses",
    "default_of",
    "describe",
    "eval_mode",
    "evaluating",
    "is_plain_linear",
    "layers_share",
    "load_parts",
    "members_in",
    "option_hints",
    "own_code",
    "own_kinds",
    "parse_value",
    "quoted",
    "refuse_losses",
    "seeded",
    "share_across_layers",
    "shortened",
    "state_from_tree",
    "state_tree",
    "value_json",
    "value_text",
    "warn_caller",
    "weighted_losses",
    "weights_of",
]
