"""YAML with limits: shallow, without tags, and without a key that is given twice."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from formers.part import quoted

_DEEPEST, _LONGEST = 20, 2**24
"""Levels of lists and mappings within each other, and characters of a text."""
_MERGE = "tag:yaml.org,2002:merge"
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of surrogate pairs, which an escape such as `\\uD800` makes and UTF-8 cannot hold."""


def parse_yaml(text: str) -> Any:
    """Return the lists, mappings, texts and numbers in a YAML text.

    Raises:
        ValueError: for a text that is no YAML, nested too deeply or too long, with a tag such as `!!int`, with half of
            a surrogate pair, with a list or mapping that holds itself, or with a key that comes twice, of which one
            would be lost.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"this has {len(text):,} characters; a text of this kind has {_LONGEST:,} at most")
    try:
        _check_events(text)
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"cannot read this as YAML: {error}") from None


def _check_events(text: str) -> None:
    """Raise ValueError for what is nested too deeply, for tags, and for what UTF-8 cannot hold.

    Nothing is built yet, and nothing recurses.
    """
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > _DEEPEST:
            raise ValueError(f"line {line}: lists and mappings lie more than {_DEEPEST} levels deep; write it flatter")
        if isinstance(event, yaml.NodeEvent) and (tag := getattr(event, "tag", None)):
            raise ValueError(f"line {line}: tags such as {quoted(tag)} are not read; write the value without it")
        if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
            raise ValueError(
                f"line {line}: {quoted(event.value)} holds half of a surrogate pair, which no file can; write the "
                "character itself, or \\U and its eight digits"
            )


class _Loader(yaml.SafeLoader):
    """Builds what is left, and refuses keys that come twice and collections that hold themselves."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, value_node in node.value:
            line, is_merge = key_node.start_mark.line + 1, key_node.tag == _MERGE
            if is_merge and not isinstance(value_node, yaml.MappingNode):  # lists of merges may double at every line
                raise ValueError(f"line {line}: << takes one mapping")
            key = "<<" if is_merge else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable) or key in seen:
                raise ValueError(f"line {line}: key {quoted(key)} comes twice, or is no key; each may come once")
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=True)  # builds it whole, and so notices what holds itself
        except (ValueError, OverflowError) as error:
            line = node.start_mark.line + 1
            raise ValueError(str(error) if str(error).startswith("line ") else f"line {line}: {error}") from None


_Loader.yaml_implicit_resolvers = {  # a date is a text here
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
