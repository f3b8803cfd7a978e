"""The recorded histories: where they lie, what the manifest says of them, how new ones are added.

A history is never changed once it is recorded: cases that began with it may still be running somewhere. A new
recording is a new dated folder, and the manifest only grows.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/histories"
MANIFEST = FOLDER / "manifest.json"
HOW = "make histories"
#: What tells nothing about the commands of a workflow, or differs between versions of Python.
_SILENT = frozenset({"ctx", "kind", "type_comment", "type_params"})


@dataclass(frozen=True)
class Recorded:
    """A line of the manifest. `workflows` is the fingerprint of the sources that made the history."""

    file: str
    sha256: str
    workflows: str

    @property
    def path(self) -> Path:
        """Where the history lies."""
        return FOLDER / self.file

    @property
    def name(self) -> str:
        """Its name in test reports."""
        return self.file.removesuffix(".json")


def manifest(text: str | None = None) -> list[Recorded]:
    """The manifest in the tree, or of a text."""
    if text is None:
        text = MANIFEST.read_text(encoding="utf-8") if MANIFEST.exists() else "[]"
    return [Recorded(**line) for line in json.loads(text)]


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fingerprint(folder: Path = ROOT / "workflows") -> str:
    """The code of the workflows without comments, docstrings and layout, as a hash."""
    code = {path.name: _meaning(ast.parse(path.read_text("utf-8"))) for path in sorted(folder.glob("*.py"))}
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def _meaning(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = {name: _meaning(value) for name, value in ast.iter_fields(node) if name not in _SILENT}
        if "body" in fields and isinstance(getattr(node, "body", None), list):
            fields["body"] = [_meaning(part) for part in node.body if not _is_docstring(part)]  # type: ignore[attr-defined]
        said = {name: value for name, value in fields.items() if value not in (None, [])}
        return [type(node).__name__, said]
    if isinstance(node, list):
        return [_meaning(part) for part in node]
    return node if isinstance(node, str | int | float | bool) or node is None else repr(node)


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


class Recorder:
    """Adds the histories of one test run to the manifest, in a folder of their own."""

    def __init__(self) -> None:
        today = date.today().isoformat()  # noqa: DTZ011 - the day of whoever records
        names = [today, *(f"{today}-{number}" for number in range(2, 100))]
        self._folder = next(FOLDER / name for name in names if not (FOLDER / name).exists())

    def add(self, name: str, history: str) -> None:
        """Write a history (Temporal's JSON) and its line."""
        path = self._folder / f"{name}.json"
        if path.exists():
            raise FileExistsError(
                f"{path.relative_to(ROOT)} was recorded by this run: give each fate its own name"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(json.loads(history), separators=(",", ":")) + "\n", encoding="utf-8")
        file = path.relative_to(FOLDER).as_posix()
        lines = [*manifest(), Recorded(file, digest(path), fingerprint())]
        MANIFEST.write_text(json.dumps([asdict(line) for line in lines], indent=1) + "\n", encoding="utf-8")


def texts(node: Any) -> Iterator[str]:
    """All text in a history, payloads decoded."""
    if isinstance(node, dict):
        if isinstance(node.get("data"), str) and "metadata" in node:
            yield base64.b64decode(node["data"]).decode("utf-8", "replace")
        for value in node.values():
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    elif isinstance(node, str):
        yield node
