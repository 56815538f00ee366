"""One row of the results."""

from dataclasses import dataclass

from bench.spec import Spec

__all__ = ["Group", "Target"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is to be reached: a figure of at `least` or at `most`, or `times` better than a rival.

    The rival is the best peer unless named.
    """

    least: float | None = None
    most: float | None = None
    times: float | None = None
    rival: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One row of the results: a figure, who is compared in it, and what is to be reached.

    Of several targets all are to be reached. There are no more than `repeats` measurements of a
    spec, and only two if these agree; more of what is over within a moment.
    """

    section: str
    title: str
    figure: str
    specs: tuple[Spec, ...]
    repeats: int = 3
    more_is_better: bool = True
    targets: tuple[Target, ...] = ()

    @property
    def workload(self) -> str:
        """The name of its workload."""
        return self.specs[0].workload

    @property
    def count(self) -> int:
        """The number of tasks that it is about."""
        return max(spec.count for spec in self.specs)
