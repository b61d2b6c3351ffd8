"""YAML text → plain JSON-like values, with the line of every field and an error for what Kubernetes would not take.

Called by `observe.manifests`. It knows nothing of Kubernetes but its YAML: timestamps are strings, keys are
strings, a key stands once. Pure: text in, documents out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

MAX_NODES = 200_000
"""Nodes of one file, aliases counted at each use: ten times the largest sane file, and no bomb gets through."""

MAX_DEPTH = 100
"""Levels of nesting. The API server takes 10,000, which no person writes and Python's stack does not hold."""


_MERGE = "tag:yaml.org,2002:merge"
_HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: an escape can say it, and nothing can print it


@dataclass(frozen=True)
class Fault:
    """Something wrong with the text."""

    line: int  # from 1
    message: str
    fatal: bool = True  # the rest of the file is lost


@dataclass
class Document:
    """One YAML document."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)  # "spec.routes[0].tiers" -> line, from 1
    faults: list[Fault] = field(default_factory=list)


class _UnusableError(Exception):
    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(node.start_mark.line + 1, message)


class _Loader(yaml.SafeLoader):
    """A loader without timestamps: sigs.k8s.io/yaml hands them on as the strings they are."""

    yaml_implicit_resolvers = {  # noqa: RUF012 -- the base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def documents(text: str) -> Iterator[Document | Fault]:
    """The documents of a file; a `Fault` among them ends it. Empty documents are left out."""
    try:
        loader = _Loader(text)
        budget = _Budget()
        while loader.check_node():
            document = _document(loader, cast(yaml.Node, loader.get_node()), budget)
            if document.value is not None:
                yield document
    except _UnusableError as error:
        yield error.fault
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        yield Fault(mark.line + 1 if mark else 1, f"no YAML: {error.problem or error.context or 'unreadable'}")
    except yaml.YAMLError:
        yield Fault(1, "no YAML: the file has characters that YAML does not allow")
    except RecursionError:
        yield Fault(1, f"nested deeper than {MAX_DEPTH} levels")


class _Budget:
    def __init__(self) -> None:
        self.left = MAX_NODES

    def take(self, node: yaml.Node) -> None:
        self.left -= 1
        if self.left < 0:
            raise _UnusableError(node, f"more than {MAX_NODES} values in one file")


def _document(loader: yaml.SafeLoader, node: yaml.Node, budget: _Budget) -> Document:
    document = Document(None)
    document.value = _Walk(loader, document, budget).value(node, "", 0)
    return document


class _Walk:
    """One pass over a document's nodes; aliases are followed each time, so that every field has its path."""

    def __init__(self, loader: yaml.SafeLoader, document: Document, budget: _Budget) -> None:
        self.loader = loader
        self.document = document
        self.budget = budget

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.budget.take(node)
        if depth > MAX_DEPTH:
            # An alias that holds itself ends here, too.
            raise _UnusableError(node, f"nested deeper than {MAX_DEPTH} levels")
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.value(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        merges = [item for key, item in node.value if key.tag == _MERGE]
        result = self._merged(merges, path, depth)
        seen: set[str] = set()
        for key, item in node.value:
            if key.tag == _MERGE:
                continue
            name = self._key(key)
            if name in seen:
                line, message = key.start_mark.line + 1, f"the key '{name}' stands here twice"
                self.document.faults.append(Fault(line, message, fatal=False))
            seen.add(name)
            inner = f"{path}.{name}" if path else name
            # The key's line: a long value may begin on the next.
            self.document.lines[inner] = key.start_mark.line + 1
            result[name] = self.value(item, inner, depth + 1)
        return result

    def _merged(self, sources: list[yaml.Node], path: str, depth: int) -> dict[str, Any]:
        """`<<: *defaults`, done here since PyYAML's own has no bound on what merges of merges grow into."""
        result: dict[str, Any] = {}
        for source in sources:
            parts = source.value if isinstance(source, yaml.SequenceNode) else [source]
            for part in reversed(parts):  # the first one wins
                value = self.value(part, path, depth + 1)
                if not isinstance(value, dict):
                    raise _UnusableError(part, "only objects can be merged with <<")
                result |= value
        return result

    def _key(self, node: yaml.Node) -> str:
        if isinstance(node, yaml.ScalarNode) and node.tag != "tag:yaml.org,2002:null":
            return _whole_characters(node)  # also of numbers and booleans, as sigs.k8s.io/yaml has it
        raise _UnusableError(node, "a key must be a string")

    def _scalar(self, node: yaml.Node) -> Any:
        constructor = {
            "tag:yaml.org,2002:str": self.loader.construct_yaml_str,
            "tag:yaml.org,2002:int": self.loader.construct_yaml_int,
            "tag:yaml.org,2002:float": self.loader.construct_yaml_float,
            "tag:yaml.org,2002:bool": self.loader.construct_yaml_bool,
            "tag:yaml.org,2002:null": self.loader.construct_yaml_null,
        }.get(node.tag)
        if constructor is None or not isinstance(node, yaml.ScalarNode):
            raise _UnusableError(node, f"values of the type {node.tag.rpartition(':')[2]} have no place in a manifest")
        _whole_characters(node)
        try:
            value = constructor(node)
        except (ValueError, KeyError, IndexError, yaml.YAMLError) as error:
            raise _UnusableError(node, "a value that does not have the form of its type") from error
        if isinstance(value, float) and not math.isfinite(value):
            raise _UnusableError(node, "infinity and NaN have no place in a manifest")
        return value


def _whole_characters(node: yaml.ScalarNode) -> str:
    text = str(node.value)
    if _HALF.search(text):
        raise _UnusableError(node, "half of a character: an escape \\ud800 to \\udfff is no character of its own")
    return text
