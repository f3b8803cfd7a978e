"""The words to the customer: the right facts, at most what may be told, in a form that arrives."""

from __future__ import annotations

import html
import itertools
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dunning.messages import NAMES_DUE_DAY, NAMES_LAST_DAY, NEEDS_NO_LINK, TEMPLATES, catalogue
from dunning.messages.check import check_templates
from dunning.messages.context import Business, MessageContext, Rendered
from dunning.messages.render import RenderError, render
from dunning.messages.sms import is_gsm7, normalise, segments
from dunning.money import Money
from dunning.values import Channel, DeclineClass
from dunning.yaml_text import read_yaml

EMAIL, SMS = Channel.EMAIL, Channel.SMS
ACME = Business(
    name="Acme",
    sender_email="billing@acme.example",
    postal_address="1 Main Street\nSpringfield",
    support_contact="help@acme.example",
)
FACTS = MessageContext(
    business=ACME,
    amount=Money(amount=1999, currency="usd"),
    pay_url="https://pay.acme.example/r/AbCdEfGhIjKlMnOpQrStUv",
    customer_name="Ada Lovelace",
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


def write(template: str, channel: Channel = EMAIL, **changes: Any) -> Rendered:
    sent = {"due_on": date(2026, 12, 4)} if template in NAMES_DUE_DAY else {}
    return render(template, channel, FACTS.model_copy(update=sent | changes))


def everything(rendered: Rendered) -> str:
    return f"{rendered.subject}\n{rendered.text}\n{html.unescape(rendered.html or '')}"


class TestEveryMessage:
    def test_of_the_standard_policy_exists(self) -> None:
        folder = Path(catalogue.__file__).parents[1] / "policies"
        named = set(re.findall(r"template: (\w+)", (folder / "standard.yaml").read_text("utf-8")))
        assert named <= TEMPLATES
        assert set(catalogue.load("en").words.messages) == TEMPLATES

    @pytest.mark.parametrize("channel", [EMAIL, SMS])
    def test_names_the_last_day_exactly_when_it_is_a_notice(self, channel: Channel) -> None:
        names = {t for t in TEMPLATES if re.search(r"Dec(ember)? 24", write(t, channel).text)}
        assert names == NAMES_LAST_DAY

    def test_in_html_names_the_same_days_as_in_text(self) -> None:
        for template in TEMPLATES:
            rendered = write(template)
            assert ("December 24, 2026" in rendered.text) == ("December 24, 2026" in (rendered.html or ""))

    @pytest.mark.parametrize("template", sorted(TEMPLATES))
    def test_says_in_html_every_line_of_the_text(self, template: str) -> None:
        rendered = write(template)
        page = re.sub(r"<(?!/?strong)[^>]+>", "\n", rendered.html or "")
        said = {line.strip() for line in html.unescape(re.sub(r"</?strong>", "", page)).splitlines()}
        lines = {line.removesuffix(":") for line in rendered.text.splitlines()}
        assert lines - {"--"} <= said

    @pytest.mark.parametrize("template", sorted(TEMPLATES))
    def test_hides_what_must_be_hidden(self, template: str) -> None:
        """A hidden reason reads exactly like one that nobody knows, on every channel."""
        for channel, reason in itertools.product((EMAIL, SMS), DeclineClass):
            hidden = write(template, channel, reason=reason, hide_reason=True)
            assert hidden == write(template, channel, reason=None)
        assert write(template, reason=DeclineClass.REVIEW) == write(template, reason=None)

    def test_never_speaks_of_missing_money(self) -> None:
        for template, channel, reason in itertools.product(TEMPLATES, (EMAIL, SMS), DeclineClass):
            told = everything(write(template, channel, reason=reason)).lower()
            assert not re.search(r"insufficient|funds|balance|not enough|afford", told)


class TestUnsubscription:
    LINK = "https://pay.acme.example/u/AbCdEf"

    @pytest.mark.parametrize("locale", catalogue.available_locales())
    def test_is_the_last_link_of_an_optional_e_mail_in_every_language(self, locale: str) -> None:
        words = catalogue.load(locale).words.phrases["unsubscribe"]
        rendered = write("grace_reminder", locale=locale, unsubscribe_url=self.LINK)
        assert rendered.text.splitlines()[-1] == self.LINK
        assert words in rendered.text
        link, text = re.findall(r'<a [^>]*href="([^"]+)"[^>]*>(.*?)</a>', rendered.html or "")[-1]
        assert (link, html.unescape(text)) == (self.LINK, words)

    def test_is_not_offered_in_a_critical_one(self) -> None:
        words = catalogue.load("en").words.phrases["unsubscribe"]
        assert not any(words in everything(write(template)) for template in TEMPLATES)

    def test_is_checked(self, tmp_path: Path) -> None:
        own = {
            "phrases": {"unsubscribe": "{% if not name %}Leave us{% endif %}"},
            "footer": ["{{ business }}: {{ unsubscribe }}"],
        }
        (tmp_path / "en").mkdir()
        (tmp_path / "en/messages.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
        found = "\n".join(check_templates(["en"], folder=tmp_path))
        assert "html has no link to unsubscribe: mend phrases.unsubscribe" in found
        assert "text says 'Leave us' where nobody can" in found


class TestSeveralInvoices:
    """Their list stands in the e-mail; an SMS says how many there are, and names none of the products."""

    FIVE = Money(amount=9995, currency="usd")

    def test_an_sms_says_how_many(self) -> None:
        text = write("payment_failed", SMS, open_invoices=5, amount=self.FIVE).text
        assert text.startswith(
            "Acme: we couldn't process your payment of $99.95 (5 open invoices). Pay here: "
        )
        assert segments(text) == 1

    @pytest.mark.parametrize("locale", catalogue.available_locales())
    @pytest.mark.parametrize("template", sorted(TEMPLATES - NEEDS_NO_LINK))
    def test_never_takes_a_third_segment_to_say_so(self, locale: str, template: str) -> None:
        told = write(template, SMS, locale=locale, open_invoices=40, amount=self.FIVE, granted_days=7)
        assert segments(told.text) <= 2
        assert "Pro" not in told.text.split("http")[0]

    def test_where_there_is_no_room_the_amount_is_said_alone(self) -> None:
        long = ACME.model_copy(update={"name": "Northwind Software Group International"})
        told = write("final_notice", SMS, locale="th", open_invoices=40, amount=self.FIVE, business=long)
        assert "99.95" in told.text
        assert "40" not in told.text
        assert segments(told.text) <= 2


class TestReasons:
    @pytest.mark.parametrize(
        ("reason", "cause", "button"),
        [
            (
                DeclineClass.SOFT,
                "The bank declined the payment from your Visa card ending in 4242",
                "Pay $19.99",
            ),
            (DeclineClass.TECHNICAL, "a technical problem between the banks", "Pay $19.99"),
            (DeclineClass.UPDATER, "seem to be out of date", "Update payment details"),
            (DeclineClass.NEW_METHOD, "expired or been replaced", "Use another payment method"),
            (DeclineClass.AUTHENTICATE, "would like you to confirm this payment", "Confirm the payment"),
            (DeclineClass.FIX_DATA, "don't match what your bank has on file", "Check payment details"),
            (DeclineClass.REVOKED, "we won't charge it again", "Choose how to pay"),
        ],
    )
    def test_are_told_in_words_that_help(self, reason: DeclineClass, cause: str, button: str) -> None:
        text = write("payment_failed", reason=reason).text
        assert cause in text
        assert f"\n{button}:\nhttps://pay.acme.example/r/" in text

    def test_without_a_card_there_is_a_payment_method(self) -> None:
        assert "from your payment method." in write("payment_failed", card_brand=None, card_last4=None).text

    def test_a_brand_we_do_not_know_is_left_out(self) -> None:
        assert "from your card ending in 4242." in write("payment_failed", card_brand="moonpay").text

    def test_a_retry_is_announced_only_when_there_is_one(self) -> None:
        assert "try again on Sunday, December 20, 2026" in write("reminder").text
        assert "again on" not in write("reminder", next_attempt_on=None).text


class TestEmail:
    def test_reads_like_a_letter(self) -> None:
        assert write("final_notice").text.split("\n\n") == [
            "Hello Ada Lovelace,",
            "This is our last reminder about the payment of $19.99 for your Pro subscription.",
            "You keep your access to Pro until the end of Thursday, December 24, 2026. After that day it "
            "pauses, and it comes back as soon as the payment is settled.",
            "The bank declined the payment from your Visa card ending in 4242. That happens, and it often "
            "works a little later.",
            "We'll try again on Sunday, December 20, 2026. If that works, there is nothing left for you "
            "to do.",
            "If you'd rather settle it now, you can pay with this or another payment method.",
            "If you need more time, or would rather cancel, just reply to this message or contact "
            "help@acme.example. We'll find a way together.",
            "Pay $19.99:\nhttps://pay.acme.example/r/AbCdEfGhIjKlMnOpQrStUv",
            "Thank you,\nthe Acme team",
            "--\nInvoice ACME-0042\nQuestions? help@acme.example\nWe never ask for card details by e-mail. "
            "You receive this message because it concerns your subscription.\n"
            "Acme, 1 Main Street, Springfield\n",
        ]

    def test_has_one_button_no_image_and_nothing_from_elsewhere(self) -> None:
        for template in TEMPLATES:
            page = write(template).html or ""
            links = re.findall(r'href="([^"]*)"', page)
            assert links in ([FACTS.pay_url], [])
            assert not re.search(r"<img|<script|<link|@import|url\(|src=", page)

    def test_a_subject_that_would_be_cut_off_leaves_the_product_out(self) -> None:
        assert write("reminder").subject == "Still having trouble with your Pro payment"
        assert (
            write("reminder", product="Professional Team Plus").subject
            == "We're still having trouble with your payment"
        )

    def test_nothing_is_loaded_and_styles_stand_in_the_elements(self) -> None:
        page = write("reminder").html or ""
        assert not re.search(r"<(link|img|script|iframe)\b|@import|url\(", page)
        sheets = "".join(re.findall(r"<style[^>]*>(.*?)</style>", page, re.DOTALL))
        assert "prefers-color-scheme: dark" in sheets
        assert "p {" not in sheets
        assert 'style="display: block;margin: 0 0 16px;"' in page

    def test_values_cannot_become_html(self) -> None:
        page = write("reminder", product='<b onclick="x">Pro</b>').html or ""
        assert "<b onclick" not in page
        assert '&lt;b onclick="x"&gt;Pro' in page

    @pytest.mark.parametrize(
        "name",
        [
            "visit evil.example now", "http://evil.example", "a@b.example", "Ada\x00", "<b>Ada</b>",
            "{{ url }}", "x" * 61, "", "   ", None,
        ],
    )  # fmt: skip
    def test_a_name_that_is_none_is_not_repeated(self, name: str | None) -> None:
        assert write("reminder", customer_name=name).text.startswith("Hello,\n")

    @pytest.mark.parametrize("name", ["Ada", "O'Neil-Kwak, Jr.", "李小龍", "J. R. Hartley", "Zoë  \n Müller"])
    def test_a_name_is_greeted(self, name: str) -> None:
        assert write("reminder", customer_name=name).text.startswith(f"Hello {' '.join(name.split())},\n")

    def test_a_template_in_a_value_stays_text(self) -> None:
        assert "your {{ 7 * 7 }} subscription" in write("reminder", product="{{ 7 * 7 }}").text

    @pytest.mark.parametrize("field", ["name", "sender_name"])
    def test_a_sender_cannot_smuggle_headers(self, field: str) -> None:
        with pytest.raises(ValidationError, match=field):
            Business.model_validate({**ACME.model_dump(), field: "Acme\r\nBcc: everybody@x.example"})

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "pay.acme.example", 'https://x/"onclick=', "https://x y"]
    )
    def test_a_link_is_a_web_address(self, url: str) -> None:
        with pytest.raises(ValidationError, match="pay_url"):
            MessageContext.model_validate({**FACTS.model_dump(), "pay_url": url})


class TestRecords:
    def test_odd_records_of_billing_do_not_stop_a_message(self) -> None:
        odd = {"product": "Pro\r\n\x00 Plan", "invoice_number": " ", "card_last4": "12", "pay_url": ""}
        context = MessageContext.model_validate({**FACTS.model_dump(), **odd})
        assert (context.product, context.invoice_number) == ("Pro Plan", None)
        assert (context.card_last4, context.pay_url) == (None, None)


class TestOutcomes:
    def test_restored_before_the_money_came_does_not_thank_for_it(self) -> None:
        assert "arrived" in write("restored").text
        unpaid = write("restored", paid=False)
        assert "arrived" not in unpaid.text
        assert "still open" in unpaid.text
        assert FACTS.pay_url in unpaid.text

    def test_the_survey_says_that_the_subscription_ended_only_if_it_did(self) -> None:
        assert "has ended" not in everything(write("survey"))
        assert write("survey", subscription_ended=True).subject == "Your Pro subscription has ended"

    def test_who_paid_is_asked_for_nothing(self) -> None:
        assert FACTS.pay_url not in everything(write("recovered"))


class TestLocales:
    def test_days_and_amounts_follow_the_customers_region(self) -> None:
        text = write("final_notice", locale="en-GB", amount=Money(amount=1999, currency="gbp")).text
        assert "Thursday 24 December 2026" in text.replace(",", "")
        assert "£19.99" in text

    @pytest.mark.parametrize("locale", ["sv-SE", "xx", "", "auto"])
    def test_without_words_of_its_own_a_language_gets_english_throughout(self, locale: str) -> None:
        rendered = write("final_notice", locale=locale)
        assert rendered.locale == "en"
        assert "Thursday, December 24, 2026" in rendered.text


class TestSms:
    def test_fits_one_segment_in_the_usual_case(self) -> None:
        for template in TEMPLATES:
            assert segments(write(template, SMS).text) == 1

    def test_reads(self) -> None:
        assert write("reminder", SMS).text == (
            "Acme: your payment of $19.99 for Pro is still open. Pay here: "
            "https://pay.acme.example/r/AbCdEfGhIjKlMnOpQrStUv Reply STOP to opt out"
        )

    def test_a_symbol_that_would_double_the_price_is_written_as_a_code(self) -> None:
        zloty = Money(amount=1999, currency="pln")
        assert "PLN 19.99" in write("reminder", SMS, amount=zloty).text
        assert "PLN" in write("reminder", EMAIL, amount=zloty).text
        rupees = Money(amount=1999, currency="inr")
        assert "INR 19.99" in write("reminder", SMS, amount=rupees).text
        assert "₹19.99" in write("reminder", EMAIL, amount=rupees).text

    def test_accents_are_dropped_to_stay_in_the_alphabet(self) -> None:
        text = write("reminder", SMS, product="Açaí – “Pró”").text
        assert 'Acai - "Pro"' in text
        assert is_gsm7(text)

    @pytest.mark.parametrize(
        ("text", "plain"),
        [
            ("19,99\xa0€", "19,99 €"),
            ("3:04\u202fPM", "3:04 PM"),
            ("\u200f19.99", "19.99"),
            ("e\u0301 ñ ü Ç", "é ñ ü Ç"),  # in the alphabet already
            ("Straße, Łódź, Kraków", "Straße, Lodz, Krakow"),
            ("Привет – é", "Привет - é"),  # cannot be saved, so nothing is dropped
            ("it’s “fine”…", 'it\'s "fine"...'),
        ],
    )
    def test_normalising(self, text: str, plain: str) -> None:
        assert normalise(text) == plain

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("", 0),
            ("a" * 160, 1),
            ("a" * 161, 2),
            ("a" * 306, 2),
            ("a" * 307, 3),
            ("€" * 80, 1),
            ("€" * 81, 2),
            ("a" * 152 + "€" + "a" * 153, 3),  # the pair does not fit the rest of the first segment
            ("я" * 70, 1),
            ("я" * 71, 2),
            ("😀" * 35, 1),
            ("😀" * 36, 2),
            ("😀" * 67, 3),  # 33 to a segment: a surrogate pair is not parted either
        ],
    )
    def test_counting_segments(self, text: str, count: int) -> None:
        assert segments(text) == count

    @given(st.text())
    def test_normalising_twice_changes_nothing_more(self, text: str) -> None:
        once = normalise(text)
        assert normalise(once) == once
        assert segments(once) <= max(segments(text) + 2, 3 * segments(text))


class TestRefusals:
    def test_a_notice_without_a_last_day(self) -> None:
        with pytest.raises(RenderError, match=r"final_notice.*last_day"):
            write("final_notice", last_day=None)

    def test_a_message_that_asks_for_something_without_a_link(self) -> None:
        with pytest.raises(RenderError, match=r"reminder.*pay_url"):
            write("reminder", pay_url=None)
        with pytest.raises(RenderError, match=r"restored.*pay_url"):
            write("restored", pay_url=None, paid=False)
        assert (
            "None" not in everything(write("restored", pay_url=None)) + write("recovered", pay_url=None).text
        )

    def test_a_message_that_does_not_exist(self) -> None:
        with pytest.raises(RenderError, match="there is no message 'threat': use one of"):
            write("threat")

    def test_whatsapp_fills_an_approved_template(self) -> None:
        said = write("final_notice", Channel.WHATSAPP)
        business, amount, link, last_day = said.variables
        assert all(fact in said.text for fact in (business, amount, link))
        assert "December 24, 2026" in last_day
        assert len(write("reminder", Channel.WHATSAPP).variables) == 3


class TestTheCheck:
    @pytest.fixture
    def australian(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A second locale, a copy of the English one, in a folder of its own."""
        folder = tmp_path / "templates"
        shutil.copytree(catalogue.FOLDER / "en", folder / "en")
        shutil.copytree(catalogue.FOLDER / "en", folder / "en-AU")
        shutil.copy(catalogue.FOLDER / "layout.mjml.jinja", folder)  # read by whoever writes the first e-mail
        monkeypatch.setattr(catalogue, "FOLDER", folder)
        return folder / "en-AU" / "messages.yaml"

    @staticmethod
    def edit(file: Path, changes: dict[str, dict[str, Any]]) -> None:
        words = read_yaml(file.read_text("utf-8"))
        for template, changed in changes.items():
            words["messages"][template].update(changed)
        file.write_text(yaml.safe_dump(words, allow_unicode=True), "utf-8")

    def test_a_locale_is_a_folder(self, australian: Path) -> None:
        assert catalogue.available_locales() == ("en", "en-AU")
        assert check_templates(["en-AU"]) == []
        assert "Thursday 24 December 2026" in write("impact", locale="en-AU").text.replace(",", "")

    def test_finds_what_is_wrong_and_in_which_message(self, australian: Path) -> None:
        mistakes: dict[str, tuple[dict[str, Any], str]] = {
            "impact": ({"body": ["{{ amuont }} {{ last_day }}"]}, "'amuont' is undefined"),
            # What stands around the words of a message is no fact.
            "grace_started": ({"body": ["{{ footer }} {{ last_day }}"]}, "'footer' is undefined"),
            "promise_made": ({"body": ["{{ amount "]}, "unexpected end of template"),
            "grace_reminder": (
                {"body": ["Soon {{ last_day }}"], "button": "Now"},
                "does not name the amount",
            ),
            "final_notice": ({"body": ["{{ amount }} soon"]}, "does not name the last day"),
            "reminder": ({"body": ["{{ amount }} by {{ last_day }}"]}, "names the last day"),
            "payment_failed": ({"button": ""}, "has no link"),
            "suspended": ({"subject": ["x" * 51]}, "the subject has 51 characters"),
            "new_link": ({"sms": ["{{ business }} {{ amount }} {{ url }}"]}, "how to opt out"),
            "restored": ({"sms": ["{{ business }} {{ url }} {{ stop }}"]}, "text does not name the amount"),
            "extension_denied": (
                {"sms": ["{{ business }} {{ amount }} {{ url }} {{ 'я' * 60 }} {{ stop }}"]},
                "the SMS takes 3 segments",
            ),
            "promise_broken": (
                {"body": ["Insufficient money: {{ amount }} {{ last_day }}"]},
                "says 'insufficient'",
            ),
        }
        self.edit(australian, {template: changes for template, (changes, _) in mistakes.items()})

        found = check_templates(["en-AU"])

        for template, (_, problem) in mistakes.items():
            told = [line for line in found if line.startswith(f"en-AU: {template}, ")]
            assert told
            assert all(problem in line for line in told)
            found = [line for line in found if line not in told]
        assert found == []

    def test_finds_what_is_missing_and_what_is_misspelt(self, australian: Path) -> None:
        text = australian.read_text("utf-8")
        australian.write_text(
            text.replace("  survey:", "  servey:").replace("  fix_data:", "  fix_date:"), "utf-8"
        )

        found = check_templates(["en-AU"])

        assert "en-AU: survey is missing: add it to messages" in found
        assert any(line.startswith("en-AU: servey is not a message") for line in found)
        assert any(line.startswith("en-AU: reasons.fix_data is missing") for line in found)

    def test_finds_a_file_that_cannot_be_read(self, australian: Path) -> None:
        australian.write_text("language: [", "utf-8")
        assert any("is not YAML" in line for line in check_templates(["en-AU"]))
        assert any("cannot be read" in line for line in check_templates(["fr"]))

    def test_takes_the_name_and_address_of_the_real_business(self) -> None:
        long = Business(
            name="The Extraordinarily Long Named Company of Llanfair " * 3, sender_email="a@b.example"
        )
        assert any("the SMS takes" in line for line in check_templates(["en"], business=long))


def test_the_names_of_messages_are_had_without_the_machinery() -> None:
    """Decisions run in workflows: they import the names, not a template engine."""
    code = "import dunning.messages, sys; print([m for m in ('jinja2', 'babel', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
