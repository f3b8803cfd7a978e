"""Reading the README: its fenced blocks, its links and its marked tables and lists."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<body>.*?)^(?P=indent)```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block, without its indentation."""

    language: str
    body: str

    @property
    def title(self) -> str:
        """Its first line, for the names of tests."""
        return self.body.splitlines()[0][:60]


BLOCKS = [Block(found["language"], textwrap.dedent(found["body"])) for found in _FENCE.finditer(TEXT)]


def blocks(language: str) -> list[Block]:
    """The blocks of a language, in their order."""
    return [block for block in BLOCKS if block.language == language]


def marked(name: str) -> str:
    """The table or block that follows the comment `<!-- name: … -->`."""
    found = re.search(rf"<!-- {re.escape(name)}: [^\n]*-->\n(.*?)(?:\n\s*\n|\Z)", TEXT, re.S)
    assert found, f"the README has no comment <!-- {name}: … -->"
    return textwrap.dedent(found[1])


def rows(name: str) -> list[tuple[str, ...]]:
    """The cells of a marked table, without its head."""
    lines = [line.strip().strip("|") for line in marked(name).splitlines()]
    return [tuple(cell.strip() for cell in line.split(" | ")) for line in lines[2:]]


def names(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def anchors() -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", TEXT), re.M)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def links() -> list[str]:
    """Where the links and pictures point."""
    return re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", TEXT))
