from tickwork.executors.prefetch import Prefetch


class Watch:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def round_of(prefetch: Prefetch, watch: Watch, took_s: float) -> int:
    """Hand over a batch that is wanted larger, let it run dry after a while, and look."""
    prefetch.limited = True
    prefetch.handed_over(10)
    watch.now_s += took_s
    prefetch.taken += 10
    prefetch.ran_dry()
    prefetch.ran_dry()
    return prefetch.allowance()


def test_nothing_waits_at_first() -> None:
    assert Prefetch(4).allowance() == 0


def test_it_grows_fourfold_with_each_batch_that_is_done_within_moments() -> None:
    watch = Watch()
    prefetch = Prefetch(4, watch)
    assert [round_of(prefetch, watch, 0.01) for _ in range(6)] == [
        4, 16, 64, 256, 1_000, 1_000,
    ]  # fmt: skip


def test_it_does_not_grow_with_long_jobs() -> None:
    watch = Watch()
    prefetch = Prefetch(4, watch)
    assert [round_of(prefetch, watch, 0.06) for _ in range(3)] == [0, 0, 0]


def test_it_does_not_grow_when_all_wanted_places_were_given() -> None:
    watch = Watch()
    prefetch = Prefetch(4, watch)
    prefetch.handed_over(10)
    prefetch.taken += 10
    prefetch.ran_dry()
    assert prefetch.allowance() == 0


def test_it_halves_at_each_look_while_the_oldest_job_waits_too_long() -> None:
    watch = Watch()
    prefetch = Prefetch(4, watch)
    while prefetch.allowance() < 1_000:
        round_of(prefetch, watch, 0.01)
    prefetch.handed_over(10)
    watch.now_s += 0.04
    assert prefetch.allowance() == 1_000
    watch.now_s += 0.02
    assert [prefetch.allowance() for _ in range(3)] == [500, 250, 125]
    prefetch.taken += 10
    assert prefetch.allowance() == 125


def test_a_young_batch_behind_a_finished_old_one_is_no_reason_to_shrink() -> None:
    watch = Watch()
    prefetch = Prefetch(4, watch)
    round_of(prefetch, watch, 0.01)
    prefetch.handed_over(10)
    watch.now_s += 0.04
    prefetch.handed_over(10)
    prefetch.taken += 10
    watch.now_s += 0.04
    assert prefetch.allowance() == 4
