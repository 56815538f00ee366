"""Every example of README and docs, saved as a file and run; every command, parsed for real."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import typer.main

from tests.docs.pages import PAGES, ROOT, Block, blocks_of
from tickwork.cli.commands import app

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
EXAMPLES = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    (block, line)
    for block in BLOCKS
    if block.language == "shell"
    for line in block.text.splitlines()
    if line.strip() and not line.startswith("#")
]
DEADLINE_S = 60
WORKERS = 4


class Examples:
    """Runs examples several at a time: most of them do nothing but wait."""

    def __init__(self, blocks: Iterable[Block], folder: Path, pool: ThreadPoolExecutor) -> None:
        self._done: dict[Block, Future[subprocess.CompletedProcess[str]]] = {}
        for number, block in enumerate(blocks):
            own = folder / str(number)
            own.mkdir()
            self._done[block] = pool.submit(run_example, block, own)

    def output_of(self, block: Block) -> str:
        done = self._done[block].result()
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def examples(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Examples]:
    """Return the examples that the selected tests ask for, under way."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    asked = {call.params.get("block"): None for call in calls if call is not None}
    blocks = [block for block in EXAMPLES if block in asked]
    with ThreadPoolExecutor(WORKERS) as pool:
        yield Examples(blocks, tmp_path_factory.mktemp("examples"), pool)


def run_example(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a block as `example.py`; by pytest where it defines tests."""
    is_test = re.search(r"^(?:def|class) [Tt]est|^    def test_", block.text, re.MULTILINE)
    file = folder / ("test_example.py" if is_test else "example.py")
    file.write_text(block.text, encoding="utf-8")
    pytest_words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
    words = [*pytest_words, file.name] if is_test else [file.name]
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_the_example_runs_and_prints_what_the_page_says(block: Block, examples: Examples) -> None:
    output = examples.output_of(block)
    if block.output is not None:
        assert output == block.output, block
    if block.page.name == "README.md":
        assert "hello" in output


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=lambda value: str(value)[:60])
def test_the_command_exists_with_these_options(block: Block, line: str) -> None:
    words = shlex.split(line.partition("  #")[0])
    while "=" in words[0]:
        del words[0]
    if words[:3] == ["python", "-m", "tickwork"]:
        words = words[2:]
    program, arguments = words[0], words[1:]
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = [word for word in arguments if "=" not in word]
        assert targets
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    elif program == "tickwork":
        group = typer.main.get_command(app)
        with group.make_context("tickwork", arguments, resilient_parsing=False) as context:
            name, command, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]  # it is a group
            command.make_context(name, rest)
    elif program == "python":
        assert arguments == ["example.py"]
    else:
        assert words == ["pip", "install", "."], f"{block}: unknown command {line!r}"
