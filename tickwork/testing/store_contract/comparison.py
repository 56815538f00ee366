"""A store beside the memory store, under random commands; see `pair`."""

from typing import Any

from tickwork.stores.memory import MemoryStore
from tickwork.testing.store_contract.bench import Bench
from tickwork.testing.store_contract.case import StoreCase
from tickwork.testing.store_contract.pair import Pair

__all__ = ["StoreComparison"]

_DOCUMENTS = 20
"""Examples of documents: there are few ways in which they can be."""


class StoreComparison(StoreCase):
    """The store under test beside the memory store; needs hypothesis."""

    examples = 50
    commands = 50
    shrinks = False
    """Whether a failure is made as short as possible first, which takes minutes."""

    def test_it_shows_what_the_memory_store_shows(self) -> None:
        """Whatever commands were given, in whatever order."""
        from hypothesis import HealthCheck, Phase, settings
        from hypothesis.stateful import run_state_machine_as_test

        from tickwork.testing.store_contract.commands import command_machine

        run_state_machine_as_test(
            command_machine(self._pair),
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=self.commands,
                deadline=None,
                report_multiple_bugs=False,
                phases=[Phase.generate, *([Phase.shrink] if self.shrinks else [])],
                suppress_health_check=list(HealthCheck),
            ),
        )

    def test_its_locks_are_those_of_the_memory_store(self) -> None:
        """Whatever was asked for, in whatever order."""
        from hypothesis import HealthCheck, given, settings

        from tickwork.testing.store_contract.lock_commands import lock_commands, obey

        @settings(
            max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck)
        )
        @given(lock_commands())
        def compare(commands: Any) -> None:
            pair = self._pair()
            try:
                obey(pair, commands)
            finally:
                for bench in pair.benches:
                    bench.close()

        compare()

    def test_its_documents_are_those_of_the_memory_store(self) -> None:
        """Whatever was written and forgotten, in whatever order."""
        from hypothesis import HealthCheck, given, settings

        from tickwork.testing.store_contract.keeping_commands import document_commands, obey

        @settings(
            max_examples=min(self.examples, _DOCUMENTS),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(document_commands())
        def compare(commands: Any) -> None:
            pair = self._pair()
            try:
                obey(pair, commands)
            finally:
                for bench in pair.benches:
                    bench.close()

        compare()

    def _pair(self) -> Pair:
        benches = []
        for store in (self.make_store(), MemoryStore()):
            bench = Bench(store, store)
            bench.open()
            benches.append(bench)
        return Pair(*benches)
