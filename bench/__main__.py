"""`python -m bench [GROUP ...] [--quick] [--profile NAME] [--page FILE]`.

A complete run takes three quarters of an hour and writes `bench/RESULTS.md` and
`bench/RESULTS.json`, anew after each group, and at its end `docs/benchmarks.md` with its charts. A
run of some groups shows its page instead, and prints its results as JSON.
"""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.course import Course
from bench.group import Group
from bench.machine import described, peers
from bench.measuring import Measured, measure_all
from bench.page import write_page
from bench.plan import SECTIONS, groups
from bench.profile import BURSTS, print_profile
from bench.report import page
from bench.saving import Saved, loaded, saved
from bench.servers import Servers
from bench.spec import Spec

__all__ = ["main"]

_HERE = Path(__file__).parent
_PAGE, _DATA = _HERE / "RESULTS.md", _HERE / "RESULTS.json"
_DOCS = _HERE.parent / "docs"


def main() -> int:
    options = _options()
    if options.profile is not None:
        print_profile(options.profile)
        return 0
    if options.page is not None:
        run = loaded(options.page)
        _PAGE.write_text(page(*run), encoding="utf-8")
        write_page(run, _DOCS)
        return 0
    return _measure(options.groups, quick=options.quick)


def _measure(sections: list[str], *, quick: bool) -> int:
    complete = not quick and not sections
    with TemporaryDirectory(prefix="tickwork-bench-") as folder, Servers() as servers:
        facts = described(folder) | peers()
        chosen = [
            group for group in groups(quick=quick) if not sections or group.section in sections
        ]
        course = Course(chosen, complete=complete)

        def run() -> Saved:
            told = facts | servers.described()
            return Saved(course.groups, course.results, course.sentences(), told)

        def note(group: Group, results: dict[Spec, Measured]) -> None:
            # After each group, so that an interrupted run leaves what it has found out.
            course.done(group, results)
            if complete:
                _PAGE.write_text(page(*run()), encoding="utf-8")
                _DATA.write_text(saved(run(), quick=quick), encoding="utf-8")

        measure_all(chosen, servers, folder, note)
        done = run()
    if complete:
        write_page(done, _DOCS)
    else:
        print(page(*done), file=sys.stderr)
        print(saved(done, quick=quick))
    return int(any(each.error is not None for each in done.results.values()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare schedulers.")
    parser.add_argument(
        "groups",
        nargs="*",
        metavar="GROUP",
        help=f"{', '.join(SECTIONS)}; all of them, unless some are named",
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once")
    parser.add_argument("--profile", choices=BURSTS, help="where tickwork's time goes in a burst")
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the pages again, from a saved run"
    )
    options = parser.parse_args()
    for name in options.groups:
        if name not in SECTIONS:
            parser.error(f"there is no group {name!r}; there are {', '.join(SECTIONS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
