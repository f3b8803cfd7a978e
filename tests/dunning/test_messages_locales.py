"""The shipped languages: their words, plurals, directions, and which customer gets which."""

from __future__ import annotations

import itertools
import re
import unicodedata
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from babel.dates import format_date

from dunning.messages import NAMES_DUE_DAY, NAMES_LAST_DAY, TEMPLATES, catalogue
from dunning.messages.catalogue import (
    available_locales,
    catalogue_for,
    load,
    opt_out_words,
)
from dunning.messages.check import check_templates
from dunning.messages.context import Business, MessageContext, Rendered
from dunning.messages.locales import END_ISOLATE, ISOLATE, isolated, nearest, without_isolates
from dunning.messages.render import render
from dunning.messages.sms import is_gsm7, segments
from dunning.money import Money, parse_locale
from dunning.values import Channel, DeclineClass
from dunning.yaml_text import read_yaml

EMAIL, SMS = Channel.EMAIL, Channel.SMS
SHIPPED = ("ar", "de", "en", "es", "fr", "ja", "pt-BR", "th")
TRANSLATED = tuple(name for name in SHIPPED if name != "en")
FACTS = MessageContext(
    business=Business(name="Acme", sender_email="billing@acme.example", support_contact="+49 30 123456"),
    amount=Money(amount=199900, currency="usd"),
    pay_url="https://pay.acme.example/r/AbCdEfGhIjKlMnOpQrStUv",
    customer_name="Ada",
    product="Pro",
    invoice_number="ACME-0042",
    card_brand="visa",
    card_last4="4242",
    reason=DeclineClass.SOFT,
    next_attempt_on=date(2026, 12, 20),
    last_day=date(2026, 12, 24),
    suspended_on=date(2026, 12, 25),
    charge_on=date(2026, 12, 20),
    card_expires="2026-11",
)


def write(
    template: str, locale: str, channel: Channel = EMAIL, folder: Path | None = None, **changes: Any
) -> Rendered:
    sent = {"due_on": date(2026, 12, 4)} if template in NAMES_DUE_DAY else {}
    context = FACTS.model_copy(update={"locale": locale, **sent, **changes})
    return render(template, channel, context, folder=folder)


def put(folder: Path, locale: str, words: dict[str, Any]) -> Path:
    """The business's own words of a locale."""
    file = folder / locale / "messages.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(words, allow_unicode=True), "utf-8")
    return file


class TestShipped:
    def test_locales(self) -> None:
        assert available_locales() == SHIPPED

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_pass_the_check(self, locale: str) -> None:
        assert check_templates([locale]) == []

    @pytest.mark.parametrize("locale", TRANSLATED)
    def test_are_written_in_their_own_script(self, locale: str) -> None:
        script = {"ar": "ARABIC", "ja": ("HIRAGANA", "KATAKANA", "CJK"), "th": "THAI"}.get(locale, "LATIN")
        for template in TEMPLATES:
            rendered = write(template, locale, business=FACTS.business.model_copy(update={"name": "X"}))
            text = re.sub(r"https?://\S+|Visa|Pro|Ada|ACME-\d+|\bX\b|US|SMS|STOP", "", rendered.text)
            letters = [char for char in text if char.isalpha()]
            own = [char for char in letters if unicodedata.name(char).startswith(script)]
            assert len(own) >= 0.9 * len(letters) > 0

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_tell_every_reason_in_words_of_its_own(self, locale: str) -> None:
        told = {cls: write("reminder", locale, reason=cls).text for cls in (None, *DeclineClass)}
        assert len(set(told.values())) == len(DeclineClass)  # all but REVIEW, which reads like no reason
        assert told[DeclineClass.REVIEW] == told[None]

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_hide_what_must_be_hidden(self, locale: str) -> None:
        for template, channel in itertools.product(TEMPLATES, (EMAIL, SMS)):
            hidden = write(template, locale, channel, reason=DeclineClass.NEW_METHOD, hide_reason=True)
            assert hidden == write(template, locale, channel, reason=None)

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_name_the_last_day_exactly_in_notices(self, locale: str) -> None:
        day = FACTS.last_day
        assert day is not None
        full = format_date(day, "EEEE", locale=parse_locale(locale))
        named = {template for template in TEMPLATES if full in write(template, locale).text}
        assert named == NAMES_LAST_DAY

    @pytest.mark.parametrize("locale", ["de", "en", "es", "fr", "pt-BR"])
    def test_need_no_letter_beyond_gsm7_in_an_sms(self, locale: str) -> None:
        """The accents that GSM-7 lacks are gone around, not dropped: no word is misspelt."""
        words = load(locale).words
        texts = [text for message in words.messages.values() for text in message.sms]
        texts += [reason.sms_remedy for reason in words.reasons.values()]
        texts += [words.phrases["stop"], words.phrases["access"]]
        for text in texts:
            literal = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", text).replace("\N{NO-BREAK SPACE}", " ")
            assert is_gsm7(literal), text

    @pytest.mark.parametrize("locale", ["de", "en", "es", "fr", "pt-BR"])
    def test_cost_at_most_two_segments_with_any_accent_in_a_name(self, locale: str) -> None:
        for template in TEMPLATES:
            text = write(template, locale, SMS, product="Façade Größe Ação").text
            assert is_gsm7(text)
            assert segments(text) <= 2

    def test_ask_for_the_word_that_the_provider_itself_obeys(self) -> None:
        for locale in SHIPPED:
            assert "STOP" in write("reminder", locale, SMS).text

    def test_know_the_words_that_mean_stop(self) -> None:
        assert {"stop", "quit", "baja", "sair", "arrêt", "หยุด", "停止", "إيقاف"} <= opt_out_words()

    def test_count_thai_years_as_thais_do(self) -> None:
        assert "วันพฤหัสบดีที่ 24 ธันวาคม พ.ศ. 2569" in write("impact", "th").text

    def test_end_a_sentence_after_an_abbreviated_month_with_one_full_stop(self) -> None:
        assert "bis 24. Dez. Hier" in write("impact", "de", SMS).text
        assert "bis 24. Mai. Hier" in write("impact", "de", SMS, last_day=date(2027, 5, 24)).text

    def test_put_a_space_before_a_french_colon_in_the_text(self) -> None:
        text = write("reminder", "fr", reason=DeclineClass.AUTHENTICATE).text
        assert "Confirmer le paiement\N{NO-BREAK SPACE}:\nhttps://" in text


class TestCounts:
    @pytest.mark.parametrize(
        ("locale", "days", "said"),
        [
            ("en", 1, "you have 1 day more"),
            ("en", 7, "you have 7 days more"),
            ("de", 1, "1 weiteren Tag"),
            ("fr", 7, "7 jours supplémentaires"),
            ("ja", 7, "7日間延長"),
            ("ar", 1, "يومًا إضافيًا واحدًا"),
            ("ar", 2, "يومين إضافيين"),
            ("ar", 3, "3 أيام إضافية"),
            ("ar", 11, "11 يومًا إضافيًا"),
            ("ar", 100, "100 يوم إضافي"),
        ],
    )
    def test_of_days_are_in_the_form_of_the_language(self, locale: str, days: int, said: str) -> None:
        assert said in without_isolates(write("extension_granted", locale, granted_days=days).text)

    @pytest.mark.parametrize("locale", SHIPPED)
    def test_of_invoices_are_told_only_when_there_are_several(self, locale: str) -> None:
        one, forty = write("reminder", locale).text, write("reminder", locale, open_invoices=40).text
        assert "40" in forty
        assert "40" not in one

    def test_without_a_form_that_the_language_has_are_found(self, tmp_path: Path) -> None:
        arabic = read_yaml((catalogue.FOLDER / "ar" / "messages.yaml").read_text("utf-8"))
        arabic["counts"]["granted_days"] = {"one": "{{ n }}", "other": "{{ n }}"}
        put(tmp_path, "he", {**arabic, "language": "he"})
        assert "he: counts.granted_days.two is missing: the language has this plural form" in check_templates(
            ["he"], folder=tmp_path
        )

    def test_keep_the_shipped_forms_that_a_business_does_not_change(self, tmp_path: Path) -> None:
        put(tmp_path, "ar", {"counts": {"granted_days": {"other": "{{ n }} يوم آخر"}}})
        two, hundred = (
            write("extension_granted", "ar", folder=tmp_path, granted_days=days).text for days in (2, 100)
        )
        assert "يومين إضافيين" in two
        assert "100 يوم آخر" in hundred


class TestRightToLeft:
    def test_page_and_table_say_so(self) -> None:
        page = write("reminder", "ar").html or ""
        assert '<html lang="ar" dir="rtl"' in page
        assert 'role="article" lang="ar" dir="rtl"' in page  # mailboxes drop the tag <html>
        assert 'align="right"' in page
        assert 'align="left"' not in page
        assert "direction:rtl" in page
        assert not re.search(r"direction: ?ltr", page)

    def test_values_that_run_the_other_way_are_isolated(self) -> None:
        rendered = write("impact", "ar")
        for value in ("Acme", "Pro", "Visa", "4242", "Ada", "+49 30 123456", "ACME-0042"):
            assert f"{ISOLATE}{value}{END_ISOLATE}" in rendered.text
            assert f"<bdi>{value}</bdi>" in (rendered.html or "")
        assert f"{ISOLATE}1,999.00\N{NO-BREAK SPACE}US${END_ISOLATE}" in rendered.text
        assert f"{ISOLATE}Pro{END_ISOLATE}" in (rendered.subject or "")

    def test_isolates_are_balanced_everywhere_and_never_in_html(self) -> None:
        for template in TEMPLATES:
            rendered = write(template, "ar")
            for text in (rendered.text, rendered.subject or ""):
                assert text.count(ISOLATE) == text.count(END_ISOLATE)
            page = rendered.html or ""
            assert ISOLATE not in page
            assert page.count("<bdi") == page.count("</bdi>")

    def test_links_stay_bare_so_that_no_mark_becomes_part_of_them(self) -> None:
        support = "https://acme.example/help"
        business = FACTS.business.model_copy(update={"support_contact": support})
        rendered = write("reminder", "ar", business=business)
        assert f"\n{FACTS.pay_url}\n" in rendered.text
        assert f" {support}" in rendered.text
        assert f'href="{FACTS.pay_url}"' in (rendered.html or "")

    def test_an_sms_has_no_marks_and_a_code_for_the_currency(self) -> None:
        text = write("reminder", "ar", SMS).text
        assert not re.search(r"[\u200e\u200f\u2066-\u2069]", text)
        assert "1,999.00 USD" in text

    def test_an_arabic_name_in_an_english_mail_is_isolated_too(self) -> None:
        assert write("reminder", "en", customer_name="ليلى").text.startswith(
            f"Hello {ISOLATE}ليلى{END_ISOLATE},\n"
        )

    @pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u2069", "\u200f"])
    def test_a_value_brings_no_marks_of_its_own(self, mark: str) -> None:
        facts = {**FACTS.model_dump(), "product": f"Pro{mark}", "locale": "en"}
        assert mark not in render("reminder", EMAIL, MessageContext.model_validate(facts)).text

    def test_a_subject_is_measured_without_its_marks(self) -> None:
        assert isolated("Pro", "rtl") != "Pro"
        assert isolated("Pro", "ltr") == "Pro"
        assert without_isolates(isolated("Pro", "rtl")) == "Pro"


class TestNearest:
    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ("pt", "pt-BR"),
            ("pt-BR", "pt-BR"),
            ("pt_PT", "pt-BR"),
            ("es-MX", "es"),
            ("es_419", "es"),
            ("de-CH", "de"),
            ("ar-EG", "ar"),
            ("TH", "th"),
            ("en-GB", "en"),
            ("de-XX-nonsense", "de"),
            ("sv", "en"),
            ("auto", "en"),
            ("", "en"),
            ("../../etc", "en"),
        ],
    )
    def test_shipped_locale(self, wanted: str, found: str) -> None:
        assert catalogue_for(wanted).locale == found

    def test_falls_back_to_the_default_of_the_business_and_then_to_english(self) -> None:
        assert nearest("sv", SHIPPED, "th") == "th"
        assert nearest("sv", SHIPPED, "fi") == "en"
        thai = FACTS.business.model_copy(update={"default_locale": "th"})
        assert write("reminder", "sv", business=thai).locale == "th"
        assert "พ.ศ." in write("reminder", "", business=thai).text

    def test_keeps_scripts_apart(self) -> None:
        assert nearest("zh-TW", ("en", "zh-CN")) == "en"
        assert nearest("zh-HK", ("en", "zh-CN", "zh-Hant")) == "zh-Hant"
        assert nearest("zh-SG", ("en", "zh-CN", "zh-Hant")) == "zh-CN"

    def test_writes_days_and_amounts_as_the_region_does(self) -> None:
        text = write("impact", "es-MX", amount=Money(amount=199900, currency="mxn")).text
        assert "$1,999.00" in text
        assert "sigue pendiente" in text
