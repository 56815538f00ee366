"""How the service behaves: by flags, by the environment, by `tickwork.toml`, or by default.

The first of the four that says something decides.
"""

from __future__ import annotations

import ipaddress
import tomllib
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tickwork.errors import InvalidInputError
from tickwork.service.rules import HIDDEN_BY_DEFAULT, Rules

__all__ = ["ServiceSettings", "is_loopback", "read_settings"]

Words = Annotated[tuple[str, ...], NoDecode]
"""Several texts; in the environment with commas between them."""

_HOUR_S = 3_600.0


class ServiceSettings(BaseSettings):
    """The settings of the service; durations are seconds.

    In the environment they are called `TICKWORK_` and their name; `tickwork.toml` is read from the
    working directory.
    """

    model_config = SettingsConfigDict(
        env_prefix="TICKWORK_",
        toml_file="tickwork.toml",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    store: str = Field(default="sqlite:///tickwork.db", description="URL of the store")
    host: str = Field(default="127.0.0.1", description="address to listen at")
    port: int = Field(
        default=8642, ge=0, le=65_535, description="port to listen at; 0: any free one"
    )
    root_path: str = Field(default="", description="prefix under which a proxy shows the service")
    viewer: bool = Field(default=False, description="only look: fire nothing, change nothing")
    fire: bool = Field(
        default=True, description="fire tasks; without, others do that and changes are still made"
    )
    auth: Literal["none", "password"] = Field(
        default="none",
        description="`none`: whoever reaches it may do everything; `password`: users log in",
    )
    allowed_hosts: Words = Field(
        default=(),
        description="names by which it is asked for; without authentication: those of loopback",
    )
    session_ttl: float = Field(
        default=12 * _HOUR_S, gt=0, description="how long a session lasts at most"
    )
    session_idle: float = Field(
        default=_HOUR_S, gt=0, description="how long a session lasts without use"
    )
    login_attempts: int = Field(
        default=5, ge=1, description="wrong passwords for a name, before it waits"
    )
    login_window: float = Field(
        default=300.0, gt=0, description="for how long wrong passwords count"
    )
    max_body: int = Field(
        default=1_048_576, ge=1_024, description="bytes that a request may have; more: 413"
    )
    hide: Words = Field(
        default=HIDDEN_BY_DEFAULT,
        description="patterns of the names of arguments that are never shown",
    )
    allow: Words = Field(
        default=(),
        description="patterns of functions (`shop.jobs:*`) that tasks may be made of from here",
    )
    metrics: bool = Field(default=True, description="answer at /metrics")
    log_format: Literal["text", "json"] = Field(default="text", description="how log lines look")

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917  the framework's signature
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  there is no such file
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  nor such a folder
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return where settings come from, the strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("allowed_hosts", "hide", "allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(filter(None, (word.strip() for word in value.split(","))))
        return value

    @field_validator("root_path")
    @classmethod
    def _read_prefix(cls, value: str) -> str:
        prefix = value.rstrip("/")
        if prefix and not prefix.startswith("/"):
            raise ValueError(f"{value!r} must begin with a slash, as in /scheduler")
        return prefix

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> ServiceSettings:
        if self.auth == "none" and not is_loopback(self.host):
            raise ValueError(
                f"listening at {self.host} would let everybody who reaches it change and remove "
                "tasks; say auth=password (--auth password, TICKWORK_AUTH=password) to have users "
                "log in, or leave host at 127.0.0.1"
            )
        self.rules()
        return self

    def rules(self) -> Rules:
        """Return what of this holds for whatever is done, by whatever way."""
        try:
            return Rules(hide=self.hide, allow=self.allow, viewer=self.viewer)
        except InvalidInputError as error:
            raise ValueError(str(error)) from error

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names by which it may be asked for; none: by any."""
        if self.allowed_hosts or self.auth != "none":
            return self.allowed_hosts
        return ("localhost", "127.0.0.1", "::1", self.host)


def read_settings(**flags: Any) -> ServiceSettings:
    """Return the settings; `flags` are the strongest, what is None among them isn't said.

    Raises:
        InvalidInputError: something of it makes no sense; the message says what to do.
    """
    said = {name: value for name, value in flags.items() if value is not None}
    try:
        return ServiceSettings(**said)
    except ValidationError as error:
        told = "; ".join(map(_told, error.errors()))
        raise InvalidInputError(told) from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"tickwork.toml can't be read: {error}") from error


def _told(problem: ErrorDetails) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        alike = get_close_matches(name, ServiceSettings.model_fields, 1)
        meant = f"; did you mean {alike[0]!r}?" if alike else ""
        return f"there is no setting {name!r} (in tickwork.toml){meant}"
    return ": ".join(filter(None, [name, problem["msg"].removeprefix("Value error, ")]))


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
