"""What customers write back, in eight languages: plain wishes are understood, a person reads the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dunning.messages.catalogue import available_locales, opt_out_words
from dunning.replies import ReplyKind, classify, everywhere, languages

STOP = opt_out_words()

SAID: dict[ReplyKind, tuple[str, ...]] = {
    "stop": (
        "STOP", "stop.", " Stop ", "StopAll", "Please stop texting me", "UNSUBSCRIBE", "leave me alone!!",
        "¡BAJA!", "No más", "ARRÊT", "arrêtez de m'écrire", "Abmelden", "SAIR", "หยุด", "อย่าส่งมาอีก", "停止",
        "もう送らないでください", "إيقاف", "توقفوا عن المراسلة", "I paid, now stop texting",
    ),
    "paid": (
        "Paid", "I already paid!", "Ya pagué", "J'ai payé hier", "Habe schon überwiesen", "Já paguei!",
        "จ่ายแล้วค่ะ", "昨日支払いました", "تم الدفع",
    ),
    "more_time": (
        "Need more time please", "can I pay next week?", "Necesito más tiempo", "J'ai besoin de temps",
        "Ich brauche ein paar Tage", "Preciso de mais prazo",
        "ขอเวลาอีกนิด", "もう少し時間をください", "أحتاج مهلة",
    ),
    "wrong_person": (
        "Wrong number", "who is this?", "Número equivocado", "Mauvais numéro", "Falsche Nummer", "Foi engano",
        "ผิดเบอร์ค่ะ", "人違いです", "الرقم خطأ",
    ),
    "start": ("START", "unstop"),
    "help": ("HELP", "Info?"),
    "other": (
        "", "👍", "thanks", "yes", "I have not paid", "no he pagado", "je n'ai pas payé", "nicht bezahlt",
        "não paguei", "ยังไม่ได้จ่าย", "まだ払っていません", "لم أدفع بعد",
        "paid half, need more time for the rest",
        "I cannot pay", "call me", "paid " * 40,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), [(text, kind) for kind, texts in SAID.items() for text in texts])
def test_what_is_said(text: str, kind: ReplyKind) -> None:
    assert classify(text, opt_out=STOP) == kind


@pytest.mark.parametrize(("word", "kind"), [("STOP", "stop"), ("START", "start"), ("HELP", "help")])
def test_twilios_own_reading_counts_first(word: str, kind: ReplyKind) -> None:
    assert classify("paid", opt_out_type=word) == kind
    assert classify("paid", opt_out_type="SOMETHING NEW") == "paid"


@pytest.mark.parametrize("word", sorted(STOP))
def test_every_word_that_means_stop_is_understood_however_it_is_written(word: str) -> None:
    for written in (word, word.upper(), f"  {word}! ", word.title()):
        assert classify(written, opt_out=STOP) == "stop"


def test_stopall_is_meant_for_every_channel() -> None:
    assert everywhere(" StopAll. ")
    assert not everywhere("stop")


def test_every_language_of_the_messages_has_rules() -> None:
    assert set(languages()) == set(available_locales())


def test_no_phrase_means_two_things() -> None:
    for name, rules in languages().items():
        for kind in ("stop", "paid", "more_time", "wrong_person"):
            for phrase in getattr(rules, kind):
                assert classify(phrase, opt_out=STOP) in (kind, "stop", "other"), (name, phrase)


def test_most_phrases_are_understood_as_they_stand() -> None:
    for name, rules in languages().items():
        for kind in ("paid", "more_time", "wrong_person"):
            plain = [phrase for phrase in getattr(rules, kind) if classify(phrase) == kind]
            assert len(plain) >= 0.7 * len(getattr(rules, kind)), (name, kind, plain)


@given(st.text())
def test_anything_can_be_written(text: str) -> None:
    assert classify(text, opt_out=STOP) in SAID
