"""The words of a business's own folder, what is left in English there, and the gallery that shows all."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from dunning.messages import TEMPLATES, catalogue
from dunning.messages.catalogue import (
    TemplatesError,
    available_locales,
    load,
)
from dunning.messages.check import check_templates
from dunning.messages.render import RenderError
from dunning.values import DeclineClass
from dunning.yaml_text import read_yaml
from tests.dunning.test_messages_locales import SHIPPED, put, write
from tests.fixtures.gallery import OWN_GREETING, OWN_LOCALE


class TestOwnFolder:
    def test_lays_its_words_over_the_shipped_ones(self, tmp_path: Path) -> None:
        put(tmp_path, "es", {"messages": {"reminder": {"subject": ["Seguimos pendientes de su pago"]}}})

        own = write("reminder", "es", folder=tmp_path)

        assert own.subject == "Seguimos pendientes de su pago"
        assert own.text == write("reminder", "es").text
        assert write("impact", "es", folder=tmp_path) == write("impact", "es")
        assert check_templates(["es"], folder=tmp_path) == []

    def test_gives_a_region_words_of_its_own(self, tmp_path: Path) -> None:
        put(tmp_path, "es", {"phrases": {"sign_off": "Saludos,\n{{ business }}"}})
        put(tmp_path, "es-MX", {"phrases": {"greeting": "Buen día:"}})

        mexican, peruvian = (write("reminder", name, folder=tmp_path).text for name in ("es-MX", "es-PE"))

        assert mexican.startswith("Buen día:\n")
        assert peruvian.startswith("Hola, Ada:\n")
        assert "Saludos,\nAcme" in mexican
        assert "Saludos,\nAcme" in peruvian
        assert check_templates(["es-MX"], folder=tmp_path) == []

    def test_adds_a_language_without_code(self, tmp_path: Path) -> None:
        german = read_yaml((catalogue.FOLDER / "de" / "messages.yaml").read_text("utf-8"))
        put(tmp_path, "lb", {**german, "language": "lb"})

        assert available_locales(tmp_path) == tuple(sorted((*SHIPPED, "lb")))
        assert write("reminder", "lb-LU", folder=tmp_path).locale == "lb"
        assert check_templates(["lb"], folder=tmp_path) == []

    def test_is_read_again_when_it_changes_and_only_then(self, tmp_path: Path) -> None:
        put(tmp_path, "es", {"phrases": {"greeting": "Buenas:"}})
        first = load("es", tmp_path)
        assert load("es", tmp_path) is first

        put(tmp_path, "es", {"phrases": {"greeting": "Muy buenas:"}})

        assert write("reminder", "es", folder=tmp_path).text.startswith("Muy buenas:")

    def test_of_another_business_is_not_mixed_up(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            put(tmp_path / name, "es", {"phrases": {"greeting": f"Hola {name}:"}})
        texts = [write("reminder", "es", folder=tmp_path / name).text for name in ("one", "two", "none")]
        assert [text.splitlines()[0] for text in texts] == ["Hola one:", "Hola two:", "Hola, Ada:"]

    def test_that_does_not_exist_changes_nothing(self, tmp_path: Path) -> None:
        assert write("reminder", "es", folder=tmp_path / "none") == write("reminder", "es")

    @pytest.mark.parametrize(
        ("locale", "words", "problem"),
        [
            ("es", {"mesages": {}}, "mesages: Extra inputs are not permitted"),
            ("es", {"messages": {"reminder": {"subject": []}}}, "messages.reminder.subject"),
            ("es", {"phrases": {"stop": ""}}, "add stop, which every message needs"),
            ("ar", {"direction": "ltr"}, "direction is ltr: rtl is how"),
            ("sv", {"language": "sv"}, "messages: Field required"),
            ("nonsense", {}, "'nonsense' is not a locale"),
        ],
    )
    def test_with_a_mistake_is_told_what_to_change(
        self, tmp_path: Path, locale: str, words: dict[str, Any], problem: str
    ) -> None:
        put(tmp_path, locale, words)
        found = check_templates([locale], folder=tmp_path)
        assert any(re.search(problem, line) for line in found)
        assert all(line.startswith(f"{locale}: ") for line in found)

    def test_with_many_mistakes_is_told_of_each(self, tmp_path: Path) -> None:
        messages = {
            "reminder": {"button": ""},
            "impact": {"subject": ["{% if no %}"]},
            "suspended": {"subject": ["{{ 1 + name }}"]},
            "survey": {"subject": ["{{ '' }}"]},
        }
        put(tmp_path, "es", {"language": "fr", "phrases": {"stop": "Responda BAJA"}, "messages": messages})
        found = check_templates(["es"], folder=tmp_path)
        for problem in (
            r"es: language is 'fr': it must be that of the folder",
            r"es: phrases\.stop does not name 'STOP'",
            r"es: reminder, .* has no link",
            r"es: impact, .*(unknown tag|end of template)",
            r"es: suspended, .*unsupported operand",
            r"es: survey, .*every variant of .* is empty",
        ):
            assert any(re.match(problem, line) for line in found)
        places = r"es: (language|phrases|reminder|impact|suspended|survey)\b"
        assert all(re.match(places, line) for line in found)

    @pytest.mark.parametrize("text", ["- a list", "just words", "a: [", "a: \x00"])
    def test_that_is_no_mapping_is_refused(self, tmp_path: Path, text: str) -> None:
        put(tmp_path, "es", {}).write_text(text, "utf-8")
        with pytest.raises(TemplatesError, match=r"es/messages\.yaml"):
            load("es", tmp_path)

    def test_a_message_that_a_new_language_lacks_is_refused_not_mixed(self, tmp_path: Path) -> None:
        german = read_yaml((catalogue.FOLDER / "de" / "messages.yaml").read_text("utf-8"))
        del german["messages"]["survey"]
        put(tmp_path, "lb", {**german, "language": "lb"})
        with pytest.raises(TemplatesError, match="survey is missing: add it to messages"):
            write("survey", "lb", folder=tmp_path)
        assert "lb: survey is missing: add it to messages" in check_templates(["lb"], folder=tmp_path)

    def test_templates_cannot_reach_into_the_engine(self, tmp_path: Path) -> None:
        put(tmp_path, "es", {"phrases": {"greeting": "{{ ''.__class__.__mro__ }}"}})
        with pytest.raises((TemplatesError, RenderError)):
            write("reminder", "es", folder=tmp_path)


class TestUntranslated:
    def test_texts_pieces_and_words_are_found(self, tmp_path: Path) -> None:
        english = load("en").words.messages["recovered"]
        words = {
            "messages": {"recovered": {"body": list(english.body)}},
            "phrases": {
                "help": "{% if support %}Ayuda: {{ support }}{% endif %}. We'll find a way together."
            },
            "reasons": {"soft": {"button": "Pay {{ amount }}"}},
        }
        put(tmp_path, "es", words)
        assert check_templates(["es"], folder=tmp_path) == [
            'es: phrases.help says "We\'ll find a way together" as in English: translate it',
            "es: reasons.soft.button is as in English: translate it",
            "es: messages.recovered.body[1] is as in English: translate it",
            "es: messages.recovered.body[2] is as in English: translate it",
        ]

    def test_english_of_another_country_may_be_english(self, tmp_path: Path) -> None:
        put(tmp_path, "en-GB", {"phrases": {"greeting": "Dear customer,"}})
        assert check_templates(["en-GB"], folder=tmp_path) == []


class _Page:
    """The links, frames, sections and tags of a page of the gallery; `<` stands in it for tags only.

    By patterns: to undo the escapes of a hundred e-mails takes seconds.
    """

    def __init__(self, file: Path) -> None:
        self.text = file.read_text("utf-8")
        self.links = re.findall(r'<a [^>]*?href="([^"]*)"', self.text)
        self.frames = re.findall(r'<iframe [^>]*?srcdoc="([^"]*)"', self.text)
        self.sections = re.findall(r'<section [^>]*?id="([^"]*)"', self.text)
        self.tags = set(re.findall(r"(?:<|&lt;)(\w+)", self.text))  # of the e-mails, too


@pytest.mark.xdist_group("browser")  # where the gallery is written already
class TestGallery:
    def test_has_an_index_and_a_page_for_every_locale(self, gallery: Path) -> None:
        names = sorted([*SHIPPED, OWN_LOCALE])
        assert _Page(gallery).links == [f"{name}.html" for name in names]
        assert all((gallery.parent / f"{name}.html").is_file() for name in names)

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_shows_every_wording_of_every_message(self, gallery: Path, locale: str) -> None:
        page = _Page(gallery.parent / f"{locale}.html")
        assert set(page.sections) == TEMPLATES
        assert len(page.frames) >= 60
        assert len(set(page.frames)) == len(page.frames)
        assert all("&lt;!DOCTYPE html&gt;" in frame for frame in page.frames)
        for cls in DeclineClass:
            assert cls.value in page.text

    def test_is_plain_html_that_loads_nothing(self, gallery: Path) -> None:
        for file in gallery.parent.iterdir():
            assert not _Page(file).tags & {"script", "img", "link"}

    def test_shows_the_words_of_the_business(self, gallery: Path) -> None:
        page = html.unescape((gallery.parent / f"{OWN_LOCALE}.html").read_text("utf-8"))
        assert OWN_GREETING in page
        assert "$1,990.00" in page
