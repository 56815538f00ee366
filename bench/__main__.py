"""`python -m bench [--quick] [--only NAME] [--profile NAME]`.

A complete run takes half an hour and writes `bench/RESULTS.md`; each run prints its results as
JSON.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import described
from bench.measuring import Measured, measure_all
from bench.plan import NAMES, Group, groups
from bench.profile import BURSTS, print_profile
from bench.report import page
from bench.spec import Spec

__all__ = ["main"]

_PAGE = Path(__file__).parent / "RESULTS.md"


def main() -> int:
    options = _options()
    if options.profile is not None:
        print_profile(options.profile)
        return 0
    with TemporaryDirectory(prefix="tickwork-bench-") as folder:
        machine = described(folder)
        chosen = [
            group
            for group in groups(quick=options.quick, folder=folder)
            if options.only is None or group.workload in options.only
        ]
        complete = not options.quick and options.only is None
        done: list[Group] = []

        def note(group: Group, results: dict[Spec, Measured]) -> None:
            # After each group, so that an interrupted run leaves what it has found out.
            done.append(group)
            if complete:
                _PAGE.write_text(page(done, results, machine), encoding="utf-8")

        results = measure_all(chosen, note)
    if not complete:
        print(page(chosen, results, machine), file=sys.stderr)
    every = list(results.values())
    print(json.dumps({"machine": machine, "results": [asdict(each) for each in every]}))
    return int(any(each.error is not None for each in every))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare schedulers.")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once")
    parser.add_argument(
        "--only",
        choices=NAMES,
        action="append",
        help="one workload (may be repeated); RESULTS.md stays as it is",
    )
    parser.add_argument("--profile", choices=BURSTS, help="where tickwork's time goes in a burst")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
