"""Endpoints: which addresses may be written, how events are signed, and when a failed one is tried again."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from standardwebhooks import Webhook

from dunning.endpoints import Endpoint, pause_before_repeat, url_problem
from dunning.signing import parse_secret, signed_headers


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://api.example.com/hook", "not encrypted"),
        ("https://ada:secret@api.example.com/hook", "user name"),
        ("https://api.example.com:22/hook", "port 22"),
        ("https://127.0.0.1/hook", "private network"),
        ("https://[::1]/hook", "private network"),
        ("https://[::ffff:10.0.0.1]/hook", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://api.example.com/a hook", "not an address"),
        ("https://api.example.com:port/", "not an address"),
        ("https://[::1/hook", "not an address"),
        ("file:///etc/passwd", "not an address"),
        ("https:///hook", "not an address"),
        ("", "not an address"),
    ],
)
def test_an_address_that_no_event_may_go_to(url: str, why: str) -> None:
    assert why in url_problem(url)


@pytest.mark.parametrize("url", ["https://api.example.com/hook?a=b", "https://api.example.com:8443/hook"])
def test_addresses_that_events_may_go_to(url: str) -> None:
    assert url_problem(url) == ""


def test_this_machine_may_listen_only_when_that_is_opened() -> None:
    for url in ("http://127.0.0.1:9000/hook", "http://localhost:9000/hook", "http://[::1]:9000/hook"):
        assert url_problem(url) != ""
        assert url_problem(url, loopback=True) == ""
    assert "private" in url_problem("https://10.0.0.1/hook", loopback=True)


@given(st.text())
def test_no_address_makes_the_check_fail(url: str) -> None:
    assert url_problem(url) != "" or url.startswith("https://")


def test_an_endpoint_hears_what_it_asked_for() -> None:
    support = Endpoint(name="support", url="https://a.example/", events=("human.needed",))
    assert (support.wants("human.needed"), support.wants("closed")) == (True, False)
    assert Endpoint(name="backend", url="https://a.example/").wants("closed")
    with pytest.raises(ValidationError, match=r"'human.needs' is not an event: write some of case\.opened"):
        Endpoint(name="support", url="https://a.example/", events=("human.needs",))


class TestSigning:
    @given(st.binary(min_size=24, max_size=64), st.text(max_size=200))
    def test_an_independent_library_verifies_it(self, key: bytes, text: str) -> None:
        secret = f"whsec_{base64.b64encode(key).decode()}"
        content = json.dumps({"type": "closed", "text": text}).encode()
        headers = signed_headers("evt_1", int(datetime.now(UTC).timestamp()), content, [parse_secret(secret)])
        assert Webhook(secret).verify(content, dict(headers)) == json.loads(content)

    def test_while_a_secret_is_rotated_both_verify(self) -> None:
        old, new = (f"whsec_{base64.b64encode(bytes([n]) * 32).decode()}" for n in (1, 2))
        now = int(datetime.now(UTC).timestamp())
        headers = signed_headers("evt_1", now, b"{}", [parse_secret(new), parse_secret(old)])
        assert len(headers["webhook-signature"].split(" ")) == 2
        for secret in (old, new):
            Webhook(secret).verify(b"{}", dict(headers))

    @pytest.mark.parametrize(
        "text", ["", "whsec_", "whsec_c2hvcnQ=", "c" * 44, "whsec_" + "A" * 44 + "!", "whsec_" + "A" * 400]
    )
    def test_a_secret_that_cannot_be_used_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(ValueError, match="openssl rand -base64 32") as refused:
            parse_secret(text)
        assert not text.removeprefix("whsec_") or text not in str(refused.value)


class TestRepeats:
    def test_a_failed_event_is_tried_ten_times_over_three_days(self) -> None:
        pauses = [pause_before_repeat(attempt, 500, None) for attempt in range(1, 11)]
        assert pauses[-1] is None
        waits = [pause for pause in pauses if pause is not None]
        assert len(waits) == 9
        assert timedelta(days=3) < sum(waits, timedelta()) < timedelta(days=3, hours=6)
        assert waits == sorted(waits)

    def test_the_wish_of_the_receiver_counts_when_it_is_longer(self) -> None:
        assert pause_before_repeat(1, 503, 120) == timedelta(minutes=2)
        assert pause_before_repeat(4, 429, 120) == timedelta(hours=2)
        assert pause_before_repeat(1, 429, None) == timedelta(minutes=1)
        assert pause_before_repeat(1, 500, -5) == timedelta(seconds=5)

    @given(st.integers(1, 9), st.one_of(st.none(), st.floats(-1e12, 1e12)))
    def test_no_wish_stops_the_repeats(self, attempt: int, wish: float | None) -> None:
        pause = pause_before_repeat(attempt, 429, wish)
        assert pause is not None
        assert timedelta(seconds=5) <= pause <= timedelta(days=1)
