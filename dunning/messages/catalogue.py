"""The words of each locale: `templates/<locale>/messages.yaml`, read and compiled once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dunning.money import parse_locale

FOLDER = Path(__file__).parent / "templates"
DEFAULT = "en"
NEUTRAL = "neutral"

# Marks that travel through the one rendering of a text and become <strong> in HTML and nothing elsewhere.
# They are of Unicode's private use area, which names and amounts never hold.
_OPEN, _CLOSE = "\ue000", "\ue001"

Strings = Annotated[tuple[str, ...], Field(min_length=1)]


class TemplatesError(ValueError):
    """Templates that cannot be used; the text names the file, the place and the remedy."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Section):
    """How a class of declines is told, and what to do about it."""

    cause: str
    remedy: str
    button: str
    sms_remedy: str


class Message(_Section):
    """One message in every form."""

    subject: Strings
    body: Strings
    button: str
    sms: Strings


class Words(_Section):
    """A whole `messages.yaml`."""

    language: str
    direction: Literal["ltr", "rtl"]
    phrases: dict[str, str]
    footer: Strings
    brands: dict[str, str]
    reasons: dict[str, Reason]
    messages: dict[str, Message]
    never: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """The words of a locale with the environment that renders them."""

    locale: str
    words: Words

    def render(self, source: str, variables: dict[str, Any]) -> str:
        """One string of the catalogue, runs of spaces made one. Raises TemplatesError for its mistakes."""
        try:
            text = compiled(source).render(variables)
        except TemplateError as error:
            raise TemplatesError(
                f"templates/{self.locale}/messages.yaml: {error} (in {source[:60]!r})"
            ) from error
        return re.sub(r" *\n *", "\n", re.sub(r"[ \t]+", " ", text)).strip(" \n")


def available_locales() -> tuple[str, ...]:
    """The locales that have a folder of templates."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/messages.yaml")))


def catalogue_for(locale: str) -> Catalogue:
    """The catalogue nearest to a customer's locale: itself, its language, or English."""
    wanted = parse_locale(locale)
    for name in (str(wanted), wanted.language):
        if name in available_locales():
            return load(name)
    return load(DEFAULT)


@lru_cache(maxsize=32)
def load(name: str) -> Catalogue:
    """The catalogue of the locale `name`. Raises TemplatesError when its file cannot be used."""
    path = FOLDER / name / "messages.yaml"
    try:
        return Catalogue(name, Words.model_validate(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise TemplatesError(f"templates/{name}/messages.yaml cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TemplatesError(f"templates/{name}/messages.yaml is not YAML: {error}") from error
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TemplatesError(f"templates/{name}/messages.yaml: {places}") from error


@lru_cache(maxsize=1024)
def compiled(source: str) -> Template:
    """A string of a catalogue, compiled. It is plain text: the HTML layout escapes what it becomes."""
    return _texts.from_string(source)


def layout(name: Literal["html", "txt"]) -> Template:
    """The frame around every e-mail."""
    return (_pages if name == "html" else _texts).get_template(f"layout.{name}.jinja")


def unmarked(text: str) -> str:
    """The text without the marks of `strong`."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def _strong(value: str) -> str:
    return f"{_OPEN}{value}{_CLOSE}"


def _marked(text: str) -> Markup:
    html = str(escape(text))
    for mark, tag in ((_OPEN, "<strong>"), (_CLOSE, "</strong>"), ("\n", "<br>")):
        html = html.replace(mark, tag)
    return Markup(html)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"strong": _strong, "marked": _marked, "capitalise": _capitalise}
    return environment


_texts = _environment(html=False)
_pages = _environment(html=True)
