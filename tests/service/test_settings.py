"""Settings: where they come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tickwork.cli import serving
from tickwork.cli.commands import app
from tickwork.errors import InvalidInputError
from tickwork.service.rules import Rules
from tickwork.service.settings import ServiceSettings, read_settings


def test_flags_come_before_the_environment_before_the_file_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_settings().port == 8642
    (tmp_path / "tickwork.toml").write_text('port = 1\nhost = "::1"\nhide = ["x"]\n')
    assert read_settings().port == 1
    monkeypatch.setenv("TICKWORK_PORT", "2")
    monkeypatch.setenv("TICKWORK_ALLOW", "shop.jobs:*, shop.night:close")
    said = read_settings(port=3, host=None)
    assert (said.port, said.host, said.hide) == (3, "::1", ("x",))
    assert said.allow == ("shop.jobs:*", "shop.night:close")
    assert read_settings().port == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"port": 70_000}, "port: "),
        ({"auth": "maybe"}, "auth: "),
        ({"host": "0.0.0.0"}, "say auth=password"),  # noqa: S104
        ({"root_path": "jobs"}, "must begin with a slash"),
        ({"allow": ("*",)}, "must name a module"),
        ({"allow": ("*:run",)}, "must name a module"),
        ({"allow": ("shop",)}, "must name a module"),
        ({"session_ttl": 0}, "session_ttl: "),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(
    flags: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        read_settings(**flags)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "tickwork.toml").write_text("port 1")
    with pytest.raises(InvalidInputError, match=r"tickwork\.toml can't be read"):
        read_settings()


def test_a_name_that_is_no_setting_is_refused_with_the_one_that_is_like_it(tmp_path: Path) -> None:
    (tmp_path / "tickwork.toml").write_text("prot = 1")
    message = r"no setting 'prot' \(in tickwork\.toml\); did you mean 'port'\?"
    with pytest.raises(InvalidInputError, match=message):
        read_settings()


def test_where_people_log_in_any_name_is_answered() -> None:
    assert ServiceSettings().hosts == ("localhost", "127.0.0.1", "::1", "127.0.0.1")
    assert ServiceSettings(auth="password").hosts == ()
    assert ServiceSettings(auth="password", allowed_hosts=("a.example",)).hosts == ("a.example",)


def test_names_are_hidden_without_regard_to_case() -> None:
    rules = Rules()
    hidden = ["password", "DB_PASSWORD", "apiToken", "client_secret", "x_api_key"]
    assert [name for name in hidden if not rules.hides(name)] == []
    assert not rules.hides("city")


def test_all_settings_are_in_the_table_of_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs/service.md").read_text()
    table = page.partition("| setting | default |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines()[2:]]
    said = {name.strip("`"): (default, meaning) for name, default, meaning in rows}
    fields = ServiceSettings.model_fields
    assert list(said) == list(fields)
    for name, field in fields.items():
        default, meaning = said[name]
        assert meaning == field.description
        shown = field.default if isinstance(field.default, tuple) else (field.default,)
        expected = ", ".join(f"`{each}`" for each in shown if each != "")
        assert default == expected


def test_each_setting_is_a_flag_of_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {}
    monkeypatch.setattr(serving, "serve_scheduler", lambda *args, **_: said.update(args[2]))
    words = ["serve", "--max-body", "2048", "--hide", "pin, iban", "--no-metrics"]
    words += ["--session-ttl", "60", "--allow", "shop.jobs:*"]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, set(said)) == (0, set(ServiceSettings.model_fields))
    settings = read_settings(**said)
    assert (settings.max_body, settings.hide, settings.metrics) == (2048, ("pin", "iban"), False)
    assert (settings.session_ttl, settings.allow) == (60, ("shop.jobs:*",))
