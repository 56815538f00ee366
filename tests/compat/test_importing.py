"""The modules for others' users: what they bring along, and what they offer."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tickwork

COMPAT = Path(tickwork.__file__).parent / "compat"
SYSTEMS = ("apscheduler", "asyncz", "grelmicro", "nexios", "taskflow", "xitzin")
FRAMEWORKS = {"fast_depends", "fastapi", "starlette"}
LONGEST = 200


def imported_by(code: str) -> set[str]:
    listing = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", listing], capture_output=True, text=True, check=True, timeout=30
    )
    return set(ended.stdout.split())


def test_tickwork_itself_brings_none_of_them_along() -> None:
    code = "from tickwork import *\nimport tickwork.testing, tickwork.cli"
    assert not [name for name in imported_by(code) if name.startswith("tickwork.compat")]


def test_they_bring_no_framework_and_no_driver_along() -> None:
    code = "\n".join(f"import tickwork.compat.{system}" for system in SYSTEMS)
    unwanted = FRAMEWORKS | {"pymongo", "redis", "sqlalchemy", "uvicorn"}
    assert imported_by(code) & unwanted == set()


def test_without_fastapi_it_is_said_what_to_install() -> None:
    code = """if True:
        import sys
        sys.modules["fastapi"] = None
        from tickwork.compat.nexios import TaskDependency
        from tickwork.errors import TaskConfigurationError
        try:
            TaskDependency()
        except TaskConfigurationError as error:
            assert "pip install 'tickwork[fastapi]'" in str(error)
        else:
            raise AssertionError
    """
    assert "tickwork.compat.nexios" in imported_by(code)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_offered_is_there_and_listed(system: str) -> None:
    module = import_module(f"tickwork.compat.{system}")
    assert module.__all__ == sorted(module.__all__, key=_as_ruff_sorts)
    assert all(getattr(module, name) is not None for name in module.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Shoe'"):
        _ = module.Shoe


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def test_each_is_one_thin_file() -> None:
    files = {path.relative_to(COMPAT): path for path in COMPAT.rglob("*.py")}
    lengths = {
        str(name): len(path.read_text(encoding="utf-8").splitlines())
        for name, path in files.items()
    }
    assert {name for name, length in lengths.items() if length >= LONGEST} == set()
    assert {name for name in lengths if "/" in name} == set()
    assert lengths.keys() >= {f"{system}.py" for system in SYSTEMS}
