"""What a function receives without being given it: the ids of its task and its run.

```python
def send_invoice(number: int, run_id: str) -> None:  # scheduler.submit(send_invoice, 7)
    provider.send(number, idempotency_key=run_id)
```

A parameter named `task_id` or `run_id` is filled if it can be given by name and nothing else gives
it. The same goes for such a parameter of a dependency.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tickwork.model.signatures import parameters_of

__all__ = ["asks_for_ids", "provided"]


def asks_for_ids(function: Callable[..., Any]) -> bool:
    """Tell whether `provided` ever returns anything but the `kwargs` of a call of `function`."""
    parameters = parameters_of(function)
    return parameters is not None and bool(parameters.provided)


def provided(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    task_id: str,
    run_id: str,
) -> Mapping[str, Any]:
    """Return `kwargs` with the ids that `function` asks for; itself where it asks for none."""
    parameters = parameters_of(function)
    if parameters is None or not parameters.provided:
        return kwargs
    ids = {"task_id": task_id, "run_id": run_id}
    given = {*parameters.positional[: len(args)], *kwargs}
    return {**kwargs, **{name: ids[name] for name in parameters.provided if name not in given}}
