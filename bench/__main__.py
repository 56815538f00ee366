"""`python -m bench [GROUP ...] [--quick] [--profile NAME]`.

A complete run takes twenty minutes and writes `bench/RESULTS.md`, anew after each group; a run of
some groups shows its page instead. Each run prints its results as JSON.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.course import Course
from bench.group import Group
from bench.machine import described
from bench.measuring import Measured, measure_all
from bench.plan import SECTIONS, groups
from bench.profile import BURSTS, print_profile
from bench.report import page
from bench.servers import Servers
from bench.spec import Spec

__all__ = ["main"]

_PAGE = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    options = _options()
    if options.profile is not None:
        print_profile(options.profile)
        return 0
    with TemporaryDirectory(prefix="tickwork-bench-") as folder, Servers() as servers:
        machine = described(folder)
        chosen = [
            group
            for group in groups(quick=options.quick, folder=folder)
            if not options.groups or group.section in options.groups
        ]
        complete = not options.quick and not options.groups
        course = Course(chosen, complete=complete)

        def note(group: Group, results: dict[Spec, Measured]) -> None:
            # After each group, so that an interrupted run leaves what it has found out.
            course.done(group, results)
            if complete:
                facts = machine | servers.described()
                _PAGE.write_text(page(course, facts), encoding="utf-8")

        measure_all(chosen, servers, note)
        machine |= servers.described()
    if not complete:
        print(page(course, machine), file=sys.stderr)
    every = list(course.results.values())
    print(json.dumps({"machine": machine, "results": [asdict(each) for each in every]}))
    return int(any(each.error is not None for each in every))


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
    options = parser.parse_args()
    for name in options.groups:
        if name not in SECTIONS:
            parser.error(f"there is no group {name!r}; there are {', '.join(SECTIONS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
