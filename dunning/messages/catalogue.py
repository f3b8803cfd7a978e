"""The words of each locale: `templates/<locale>/messages.yaml`, read and compiled once.

A business changes them, or adds a locale, in a folder of its own with the same layout. What stands there is
laid over the words that the engine ships, key by key; a list is replaced as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import css_inline
import mrml
import yaml
from babel.numbers import format_decimal
from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateError
from jinja2.runtime import Context, new_context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from dunning.messages.locales import DEFAULT, END_ISOLATE, ISOLATE, known_locale, nearest
from dunning.messages.sms import is_gsm7, normalise
from dunning.money import parse_locale
from dunning.yaml_text import read_yaml

FOLDER = Path(__file__).parent / "templates"
FILE = "messages.yaml"
NEUTRAL = "neutral"
SENT = "sent"

# Marks that travel through the one rendering of a text and become <strong> in HTML and nothing elsewhere.
# They are of Unicode's private use area, which names and amounts never hold.
_OPEN, _CLOSE = "\ue000", "\ue001"
_TAGS = (
    (_OPEN, "<strong>"),
    (_CLOSE, "</strong>"),
    (ISOLATE, "<bdi>"),
    (END_ISOLATE, "</bdi>"),
    ("\n", "<br>"),
)

# "24. Sept." at the end of a sentence: the full stop of the abbreviation is the sentence's, too.
_TWO_STOPS = re.compile(r"(?<=\w)\.\.(?=\s|$)")
_SPACES = re.compile(r"[ \t]{2,}|\t")

Layers = tuple[tuple[Path, tuple[int, int]], ...]
W = TypeVar("W", bound=BaseModel)

Strings = Annotated[tuple[str, ...], Field(min_length=1)]
PluralTag = Literal["zero", "one", "two", "few", "many", "other"]

#: What the layouts and the check need of every locale's `phrases`.
_NEEDED_PHRASES = ("greeting", "sign_off", "stop", "unsubscribe")


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


def _with_other(forms: dict[PluralTag, str]) -> dict[PluralTag, str]:
    if "other" not in forms:
        raise ValueError("add the form `other`, which every language has")
    return forms


#: A counted noun in the plural forms of its language (CLDR, "Language Plural Rules"); `n` is the number.
Forms = Annotated[dict[PluralTag, str], AfterValidator(_with_other)]


class Counts(_Section):
    """The counted nouns of the messages."""

    granted_days: Forms
    open_invoices: Forms


class Words(_Section):
    """A whole `messages.yaml`."""

    language: str
    direction: Literal["ltr", "rtl"]
    phrases: dict[str, str]
    counts: Counts
    footer: Strings
    brands: dict[str, str]
    reasons: dict[str, Reason]
    messages: dict[str, Message]
    opt_out: Strings  # words that, alone in a reply, mean stop; the first one is what the SMS asks for
    never: tuple[str, ...] = ()

    @field_validator("phrases")
    @classmethod
    def _complete(cls, phrases: dict[str, str]) -> dict[str, str]:
        if missing := [name for name in _NEEDED_PHRASES if not phrases.get(name)]:
            raise ValueError(f"add {', '.join(missing)}, which every message needs")
        return phrases


@dataclass(frozen=True)
class Catalogue:
    """The words of a locale with the environment that renders them. `origin` names the files in errors."""

    locale: str
    words: Words
    origin: str

    def render(self, source: str, variables: Mapping[str, Any]) -> str:
        """One string of the catalogue, runs of spaces made one. Raises TemplatesError for its mistakes."""
        if "{" not in source:
            return _tidy(source)
        try:
            text = compiled(source).render(variables)
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TemplatesError(f"{self.origin}: {error} (in {source[:60]!r})") from error
        return _tidy(text)

    def message(self, template: str) -> Message:
        """The message of this name. Raises TemplatesError when the locale has none."""
        if template not in self.words.messages:
            raise TemplatesError(f"{self.origin}: {template} is missing: add it to messages")
        return self.words.messages[template]

    def reason(self, name: str) -> Reason:
        """How this class of declines is told. Raises TemplatesError when the locale does not say."""
        if name not in self.words.reasons:
            raise TemplatesError(f"{self.origin}: {name} is missing: add it to reasons")
        return self.words.reasons[name]

    def counted(self, forms: dict[PluralTag, str], number: int) -> str:
        """The number with its noun, in the plural form that the language has for it."""
        locale = parse_locale(self.locale)
        form = forms.get(cast(PluralTag, locale.plural_form(number)), forms["other"])
        return self.render(form, {"n": format_decimal(number, locale=locale)})

    @property
    def speaks_gsm7(self) -> bool:
        """Whether an SMS in this language can be of the alphabet in which 160 characters fit one segment."""
        return is_gsm7(normalise(self.words.phrases["stop"]))


def available_locales(folder: Path | None = None) -> tuple[str, ...]:
    """The locales that have words: those that the engine ships, and those of the business's own folder."""
    return tuple(sorted({*_shipped(FOLDER), *_own(folder)}))


def catalogue_for(locale: str, folder: Path | None = None, *, default: str = DEFAULT) -> Catalogue:
    """The catalogue nearest to a customer's locale: itself, its language, the default's, or English."""
    return load(nearest(locale, available_locales(folder), default), folder)


def opt_out_words(folder: Path | None = None) -> frozenset[str]:
    """The words of all languages that, alone in a reply, mean stop; case-folded."""
    return frozenset(
        word.casefold() for name in available_locales(folder) for word in load(name, folder).words.opt_out
    )


def load(name: str, folder: Path | None = None) -> Catalogue:
    """The words of the locale `name`, those of `folder` laid over those that the engine ships.

    Files are read once and again when they change. Raises TemplatesError when they cannot be used.
    """
    if known_locale(name) is None:
        raise TemplatesError(f"{name!r} is not a locale: name the folder by language and region, as in pt-BR")
    paths = layers(name, folder)
    if not paths:
        raise TemplatesError(f"templates/{name}/{FILE} cannot be read: there is no such file")
    return _load(name, stamped(paths))


@lru_cache(maxsize=8)
def _shipped(folder: Path, file: str = FILE) -> dict[str, Path]:
    return _own(folder, file)


def _own(folder: Path | None, file: str = FILE) -> dict[str, Path]:
    return {path.parent.name: path for path in folder.glob(f"*/{file}")} if folder is not None else {}


def layers(name: str, folder: Path | None, file: str = FILE) -> list[Path]:
    """The files that make a locale, the most general first: shipped, the language's own, the region's own."""
    shipped, own = _shipped(FOLDER, file), _own(folder, file)
    language = str(parse_locale(name).language)
    sister = nearest(name, shipped)
    base = shipped.get(sister) if parse_locale(sister).language == language else None
    general = own.get(language) if language != name else None
    return [path for path in (base, general, own.get(name)) if path is not None]


def stamped(paths: Iterable[Path]) -> Layers:
    """The files with what a change of them changes: they are read once, and again when somebody wrote."""
    return tuple((path, _stamp(path)) for path in paths)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise TemplatesError(f"{_shown(path)} cannot be read: {error.strerror}") from error
    return stat.st_mtime_ns, stat.st_size


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:])


@lru_cache(maxsize=64)
def _load(name: str, files: Layers) -> Catalogue:
    words, origin = merged(Words, files)
    return Catalogue(name, words, origin)


def merged(model: type[W], files: Layers) -> tuple[W, str]:
    """What the files say together, and their names for errors. Raises TemplatesError for their mistakes."""
    found: dict[str, Any] = {}
    for path, _ in files:
        found = _laid_over(found, _read(path))
    origin = " with ".join(_shown(path) for path, _ in files)
    try:
        return model.model_validate(found), origin
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise TemplatesError(f"{origin}: {places}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        data: Any = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TemplatesError(f"{_shown(path)} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise TemplatesError(f"{_shown(path)} is not YAML: {error}") from error
    if data is not None and not isinstance(data, dict):
        raise TemplatesError(f"{_shown(path)} is a {type(data).__name__}: write keys such as messages:")
    return data or {}


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        deeper = isinstance(value, dict) and isinstance(both.get(key), dict)
        both[key] = _laid_over(both[key], value) if deeper else value
    return both


def _tidy(text: str) -> str:
    """Runs of spaces made one, none at the ends of lines, one full stop at the end of a sentence."""
    if "  " in text or "\t" in text:
        text = _SPACES.sub(" ", text)
    text = text.replace(" \n", "\n").replace("\n ", "\n").strip(" \n")
    return _TWO_STOPS.sub(".", text) if ".." in text else text


@lru_cache(maxsize=4096)
def compiled(source: str) -> Template:
    """A string of a catalogue, compiled. It is plain text: the HTML layout escapes what it becomes."""
    return _texts.from_string(source)


def email_text(variables: dict[str, Any]) -> str:
    """The plain-text part of an e-mail."""
    return unmarked(_texts.get_template("layout.txt.jinja").render(variables))


def email_html(variables: dict[str, Any]) -> str:
    """The HTML part of an e-mail, its styles in a sheet."""
    return _frame().render(variables)


def inlined(html: str) -> str:
    """The same with its styles in the elements, for mailboxes that ignore the others; what only a style sheet
    can say (the dark colours, the width of a telephone) stays in one.
    """
    return _inliner.inline(html)


@lru_cache(maxsize=1)
def _frame() -> Template:
    """The frame around every e-mail: MJML, made into the HTML of mailboxes once, with its variables in it."""
    source = (FOLDER / "layout.mjml.jinja").read_text(encoding="utf-8")
    return _pages.from_string(mrml.to_html(source).content)


def unmarked(text: str) -> str:
    """The text without the marks of `strong`."""
    return text.replace(_OPEN, "").replace(_CLOSE, "")


def _strong(value: str) -> str:
    return f"{_OPEN}{value}{_CLOSE}"


def marked(text: str) -> Markup:
    """The text as HTML: escaped, its marks become tags."""
    html = str(escape(text))
    for mark, tag in _TAGS:
        html = html.replace(mark, tag)
    return Markup(html)


def _capitalise(text: str) -> str:
    return text[:1].upper() + text[1:]


class _Plain(Template):
    """A template without globals: the variables need not be copied over them for every string."""

    def new_context(
        self, vars: dict[str, Any] | None = None, shared: bool = True, locals: Mapping[str, Any] | None = None
    ) -> Context:
        return new_context(self.environment, self.name, self.blocks, vars, shared, None, locals)


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.clear()  # words need no functions
    environment.template_class = _Plain
    environment.filters |= {"strong": _strong, "marked": marked, "capitalise": _capitalise}
    return environment


_texts = _environment(html=False)
_pages = _environment(html=True)
_inliner = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
