"""The settings: read once, from the environment and from `.env`, and checked as a whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeGuard, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dunning.signing import parse_secret
from dunning.values import reason_of
from starter.errors import SettingsError

Purpose = Literal["up", "worker", "serve"]
Scope = Literal["read", "support", "admin"]
Seconds = Annotated[float, Field(gt=0, le=600)]

DEFAULT_DATABASE_URL = "sqlite:///.dunning/ledger.db"
ENV_FILE = ".env"


class ApiKey(NamedTuple):
    """A key of the HTTP API: its name, its scope, and the SHA-256 of its secret in hex."""

    name: str
    scope: Scope
    digest: str


class EndpointSecret(NamedTuple):
    """A signing secret of an endpoint for events."""

    endpoint: str
    secret: SecretStr


class Settings(BaseSettings):
    """Everything that can be configured. Use `load`, which also explains what is wrong.

    Temporal's own settings (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS_*`)
    are kept as they came, in `temporal_variables`, and read by Temporal's own rules (`temporalio.envconfig`).
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: str = DEFAULT_DATABASE_URL

    stripe_api_key: SecretStr | None = None
    stripe_webhook_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()  # several while one is rotated
    stripe_api_base: str | None = None
    stripe_activities_per_second: float = Field(20.0, ge=0)  # 0: no limit
    stripe_timeout_seconds: Seconds = 30.0

    sendgrid_api_key: SecretStr | None = None
    sendgrid_api_base: str | None = None
    sendgrid_webhook_public_key: str | None = None
    sendgrid_timeout_seconds: Seconds = 15.0

    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_api_base: str | None = None
    twilio_messaging_service_sid: str | None = None
    twilio_webhook_shared_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    twilio_timeout_seconds: Seconds = 15.0

    public_base_url: str | None = None
    dunning_policies: Path | None = None
    dunning_secret_key: SecretStr | None = None
    dunning_api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = ()
    dunning_api_requests_per_minute: float = Field(600.0, ge=0)  # of each key or address; 0: no limit
    dunning_endpoint_secrets: Annotated[tuple[EndpointSecret, ...], NoDecode] = ()
    dunning_allow_loopback_endpoints: bool = False  # events may go to this machine, unencrypted: for trials
    dunning_host: str = "127.0.0.1"
    dunning_port: int = Field(8000, ge=0, le=65535)
    dunning_metrics_address: str | None = None  # host:port of the Temporal SDK's own Prometheus metrics
    dunning_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    dunning_activity_seconds: Seconds = 120.0  # one try of an activity, all its HTTP calls included
    dunning_activity_patience_seconds: Annotated[float, Field(gt=0, le=86400)] = 600.0  # all its tries
    dunning_rpc_timeout_seconds: Seconds = 5.0  # a call to Temporal that no worker has to answer
    dunning_update_timeout_seconds: Seconds = 10.0  # a call that a worker has to answer

    temporal_variables: dict[str, str] = Field({}, repr=False)

    @classmethod
    def load(cls, env_file: str | Path | None = ENV_FILE) -> Settings:
        """Read the settings. The environment wins over `env_file`, which need not exist.

        Raises SettingsError with a sentence for every value that cannot be used.
        """
        filed = dotenv_values(env_file) if env_file is not None else {}
        temporal = {k: v for k, v in (filed | dict(os.environ)).items() if k.startswith("TEMPORAL_") and v}
        try:
            return cls(_env_file=env_file, temporal_variables=temporal)
        except ValidationError as error:
            raise SettingsError([_sentence(e) for e in error.errors()]) from error

    @field_validator("stripe_webhook_secret", "twilio_webhook_shared_keys", mode="before")
    @classmethod
    def _split_secrets(cls, value: object) -> object:
        return tuple(_listed(value)) if isinstance(value, str) else value

    @field_validator("dunning_api_keys", mode="before")
    @classmethod
    def _split_keys(cls, value: object) -> object:
        return tuple(_api_key(text) for text in _listed(value)) if isinstance(value, str) else value

    @field_validator("dunning_endpoint_secrets", mode="before")
    @classmethod
    def _split_endpoint_secrets(cls, value: object) -> object:
        return tuple(_endpoint_secret(text) for text in _listed(value)) if isinstance(value, str) else value

    @field_validator("dunning_log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """The signing secrets of the Stripe endpoint, as text."""
        return tuple(secret.get_secret_value() for secret in self.stripe_webhook_secret)

    def public_url(self, path: str) -> str | None:
        """A path of the app as customers and providers reach it; None without PUBLIC_BASE_URL."""
        return self.public_base_url.rstrip("/") + path if self.public_base_url else None

    @property
    def templates(self) -> Path | None:
        """The folder of the business's own words."""
        return self.dunning_policies / "templates" if self.dunning_policies else None

    @property
    def endpoint_secrets(self) -> list[tuple[str, str]]:
        """The signing secrets of the endpoints, by name, as text."""
        return [(name, secret.get_secret_value()) for name, secret in self.dunning_endpoint_secrets]

    def missing(self, for_: Purpose = "up") -> list[str]:
        """What is missing or malformed for a purpose, one sentence each; empty when all is there."""
        return list(_problems(self, for_))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _api_key(text: str) -> ApiKey:
    name, _, rest = text.partition(":")
    scope, _, digest = rest.partition(":")
    if not name or not _is_scope(scope) or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(
            f"the key {name or '(without a name)'!r} must read name:scope:sha256, with the scope read, "
            "support or admin and the SHA-256 of the secret in 64 hex digits"
        )
    return ApiKey(name, scope, digest.lower())


def _endpoint_secret(text: str) -> EndpointSecret:
    name, _, secret = text.partition(":")
    if not name or not secret:
        raise ValueError("write name:whsec_… for each endpoint, comma-separated; two while one is rotated")
    try:
        parse_secret(secret)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return EndpointSecret(name, SecretStr(secret))


def _is_scope(text: str) -> TypeGuard[Scope]:
    return text in get_args(Scope)


def _sentence(error: Any) -> str:
    """A validation error without its input: the value may be a secret."""
    name = str(error["loc"][0]).upper() if error["loc"] else "settings"
    return f"{name}: {reason_of(error)}"


# --- what a purpose needs ---------------------------------------------------------------------------------

Check = tuple[str, Callable[[str], bool], str]


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _is_url(*schemes: str) -> Callable[[str], bool]:
    return lambda value: urlsplit(value).scheme in schemes and bool(urlsplit(value).netloc)


_STRIPE: list[Check] = [
    ("stripe_api_key", _matches(r"(sk|rk)_(test|live)_\w+"), "a secret or restricted key: sk_… or rk_…"),
]
_WEBHOOK: list[Check] = [
    ("stripe_webhook_secret", _matches(r"whsec_\S+"), "the endpoint's signing secret: whsec_…"),
]
_MESSAGES: list[Check] = [
    ("sendgrid_api_key", _matches(r"SG\.\S+"), "an API key with the right to send mail: SG.…"),
    ("twilio_account_sid", _matches(r"AC[0-9a-fA-F]{32}"), "AC and 32 hex digits"),
    ("twilio_auth_token", _matches(r"\S{16,}"), "the account's auth token"),
    ("twilio_messaging_service_sid", _matches(r"MG[0-9a-fA-F]{32}"), "MG and 32 hex digits"),
]
_PUBLIC: list[Check] = [
    (
        "public_base_url",
        _is_url("https", "http"),
        "the address customers reach, such as https://billing.example.com",
    ),
    ("dunning_secret_key", _matches(r".{32,}"), "at least 32 random characters"),
]
_NEEDS: dict[Purpose, list[Check]] = {
    "worker": [*_STRIPE, *_MESSAGES],
    "serve": _WEBHOOK,
    "up": [*_STRIPE, *_WEBHOOK, *_MESSAGES, *_PUBLIC],
}


def _problems(settings: Settings, purpose: Purpose) -> Iterator[str]:
    for name, is_right, hint in _NEEDS[purpose]:
        values = _texts(getattr(settings, name))
        if not values:
            yield f"{name.upper()} is missing: set it to {hint}"
        elif not all(is_right(value) for value in values):
            yield f"{name.upper()} is malformed: it must be {hint}"
    for name in ("stripe_api_base", "sendgrid_api_base", "twilio_api_base"):
        value = getattr(settings, name)
        if value and not _is_url("http", "https")(value):
            yield f"{name.upper()} is malformed: write an address such as http://127.0.0.1:9100, or nothing"
    key = settings.sendgrid_webhook_public_key
    if key and not re.fullmatch(r"[A-Za-z0-9+/]{100,}={0,2}", key):
        yield "SENDGRID_WEBHOOK_PUBLIC_KEY is malformed: copy the verification key as one line, or unset it"
    if purpose == "up" and settings.dunning_allow_loopback_endpoints:
        yield "DUNNING_ALLOW_LOOPBACK_ENDPOINTS is for trials: unset it, events must leave encrypted"
    if not re.match(r"(sqlite|postgres(ql)?)(\+\w+)?://", settings.database_url):
        yield "DATABASE_URL is malformed: write sqlite:///file or postgresql://user:password@host/database"
    folder = settings.dunning_policies
    if folder is not None and not folder.is_dir():
        yield f"DUNNING_POLICIES: there is no folder {folder}: create it, or set nothing"
    elif purpose == "up" and (folder is None or not (folder / "business.yaml").is_file()):
        yield "DUNNING_POLICIES is missing: name a folder whose business.yaml says who writes to customers"


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, tuple):
        return [text for item in value for text in _texts(item)]
    return [value.get_secret_value() if isinstance(value, SecretStr) else str(value)]
