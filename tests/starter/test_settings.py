"""Settings: where they come from, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from starter.errors import SettingsError
from starter.settings import Settings

GOOD = {
    "STRIPE_API_KEY": "sk_test_abc",
    "STRIPE_WEBHOOK_SECRET": "whsec_a",
    "SENDGRID_API_KEY": "SG.abc.def",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "0" * 32,
    "TWILIO_MESSAGING_SERVICE_SID": "MG" + "0" * 32,
    "PUBLIC_BASE_URL": "https://billing.example.com",
    "DUNNING_SECRET_KEY": "s" * 32,
    "DUNNING_POLICIES": "policies",
}
OURS = ("STRIPE_", "SENDGRID_", "TWILIO_", "DUNNING_", "TEMPORAL_", "DATABASE_URL", "PUBLIC_BASE_URL")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting in the environment, and no `.env` in the folder."""
    import os

    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "business.yaml").write_text("name: Example\n", encoding="utf-8")


def test_without_any_setting_there_are_defaults() -> None:
    settings = Settings.load()
    assert settings.database_url == "sqlite:///.dunning/ledger.db"
    assert settings.stripe_activities_per_second == 20
    assert settings.temporal_variables == {}


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "DATABASE_URL=sqlite:///file.db\nDUNNING_PORT=9000\nTEMPORAL_ADDRESS=file:7233\nTEMPORAL_NAMESPACE=n\n"
    )
    monkeypatch.setenv("DUNNING_PORT", "9001")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "environment:7233")
    settings = Settings.load()
    assert (settings.database_url, settings.dunning_port) == ("sqlite:///file.db", 9001)
    assert settings.temporal_variables == {
        "TEMPORAL_ADDRESS": "environment:7233",
        "TEMPORAL_NAMESPACE": "n",
    }


def test_several_webhook_secrets_are_listed_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", "whsec_old, whsec_new,")
    assert Settings.load().webhook_secrets == ("whsec_old", "whsec_new")


def test_api_keys_are_read_and_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUNNING_API_KEYS", f"ops:admin:{'AB' * 32},desk:support:{'cd' * 32}")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_secret")
    settings = Settings.load()
    assert [(key.name, key.scope, key.digest) for key in settings.dunning_api_keys] == [
        ("ops", "admin", "ab" * 32),
        ("desk", "support", "cd" * 32),
    ]
    assert "sk_test_secret" not in repr(settings)


def test_every_mistake_is_told_at_once_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_TIMEOUT_SECONDS", "soon")
    monkeypatch.setenv("DUNNING_PORT", "99999")
    monkeypatch.setenv("DUNNING_API_KEYS", "ops:everything:secret")
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "STRIPE_TIMEOUT_SECONDS",
        "DUNNING_API_KEYS",
        "DUNNING_PORT",
    ]
    assert "secret" not in str(refused.value).replace("the secret", "")


class TestMissing:
    def test_lists_all_that_a_purpose_needs(self) -> None:
        names = [problem.split()[0] for problem in Settings.load().missing("up")]
        assert names == list(GOOD)
        assert [p.split()[0] for p in Settings.load().missing("serve")] == ["STRIPE_WEBHOOK_SECRET"]

    def test_is_empty_when_all_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in GOOD.items():
            monkeypatch.setenv(name, value)
        assert Settings.load().missing("up") == []

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("STRIPE_API_KEY", "pk_live_abc"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_a,oops"),
            ("TWILIO_ACCOUNT_SID", "AC123"),
            ("PUBLIC_BASE_URL", "billing.example.com"),
            ("DUNNING_SECRET_KEY", "short"),
            ("DATABASE_URL", "mysql://db"),
            ("STRIPE_API_BASE", "127.0.0.1:9100"),
            ("SENDGRID_WEBHOOK_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----"),
            ("DUNNING_POLICIES", "no/such/folder"),
            ("DUNNING_POLICIES", "."),  # a folder without a business.yaml
        ],
    )
    def test_names_what_is_malformed(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        for key, good in (GOOD | {name: value}).items():
            monkeypatch.setenv(key, good)
        (problem,) = Settings.load().missing("up")
        assert problem.startswith(name)
