"""`python -m bench [--quick] [--only NAME] [--profile NAME]`."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.machine import described
from bench.measuring import measure_all
from bench.plan import NAMES, groups
from bench.profile import BURSTS, print_profile
from bench.report import page

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
            if options.only is None or group.workload == options.only
        ]
        results = measure_all(chosen)
    text = page(chosen, results, machine)
    if options.quick or options.only is not None:
        print(text, file=sys.stderr)
    else:
        _PAGE.write_text(text, encoding="utf-8")
        print(f"written: {_PAGE}", file=sys.stderr)
    every = list(results.values())
    print(json.dumps({"machine": machine, "results": [asdict(each) for each in every]}))
    return int(any(each.error is not None for each in every))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Compare schedulers.")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, once")
    parser.add_argument("--only", choices=NAMES, help="one workload; RESULTS.md stays as it is")
    parser.add_argument("--profile", choices=BURSTS, help="where tickwork's time goes in a burst")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
