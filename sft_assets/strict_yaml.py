"""YAML files of people: read once, strictly, and with the line of everything in them.

YAML keeps the last of two equal keys and says nothing; here a line is never lost that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sft_assets.errors import SftError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same, in C


@dataclass(frozen=True)
class Document:
    """What a file says, and where in it."""

    value: Any
    node: yaml.Node | None

    def line(self, place: Sequence[Any]) -> int:
        """The line (from 1) of what the keys and indices of `place` lead to, or of the last of them that is there."""
        node, line = self.node, 1
        for step in place:
            if isinstance(node, yaml.MappingNode):
                pair = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                pair = (node.value[step], node.value[step])
            else:
                pair = None
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        return line


def read(text: str, path: Path) -> Document:
    """Parse the text of a file.

    Raises:
        SftError: it is no YAML, or a key stands twice. The message names `path` and the line.
    """
    loader = LOADER(text)
    try:
        node = loader.get_single_node()
        _refuse_repeated_keys(node, path, set())
        return Document(None if node is None else loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SftError(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML lets plain exceptions out for a date of month 13, a tag that does not fit, lists without end ...
        raise SftError(f"{path}: not YAML: {error or type(error).__name__}") from None
    finally:
        loader.dispose()


def _refuse_repeated_keys(node: yaml.Node | None, path: Path, seen_nodes: set[int]) -> None:
    if id(node) in seen_nodes:  # an alias
        return
    seen_nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise SftError(f"{path}:{line}: {key.value!r} stands here and in line {seen[key.value]}; keep one")
                seen[key.value] = line
            _refuse_repeated_keys(value, path, seen_nodes)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value, path, seen_nodes)
