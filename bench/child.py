"""The process that makes one measurement: `python -m bench.child SPEC`; prints JSON."""

import json
import sys
from importlib import import_module

from bench.spec import Spec

__all__ = ["main"]


def main() -> None:
    spec = Spec.from_json(sys.argv[1])
    workload = import_module(f"bench.workloads.{spec.workload}")
    print(json.dumps(workload.measure(spec)), flush=True)


if __name__ == "__main__":
    main()
