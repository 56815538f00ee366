import pytest

from tickwork.executors.prefetch import Prefetch

FIRST = 1_000
MOST = 2_000
WORKERS = 4
LOOK_S = 0.0625
"""A look is due after 0.05 s; nobody is that punctual, and this one makes no errors of rounding."""


class Queue:
    """A queue in front of workers that are told when to begin a job, and when time passes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waiting = 0
        self.prefetch = Prefetch(WORKERS, lambda: self.now_s)
        self.prefetch.look(0)

    def hand_over(self, jobs: int, *, wanted: bool = True) -> None:
        self.prefetch.limited = wanted
        self.prefetch.handed_over(jobs, self.waiting)
        self.waiting += jobs

    def pass_by(self, seconds: float, began: int = 0) -> None:
        self.now_s += seconds
        self.waiting -= began

    def look(self) -> int:
        surplus = self.prefetch.look(self.waiting)
        self.prefetch.given_back(surplus)
        self.waiting -= surplus
        return surplus

    def stand_still(self) -> None:
        """Have long jobs come, until nothing may wait any more."""
        self.hand_over(1)
        for _ in range(2):
            self.pass_by(LOOK_S)
            self.look()
        assert (self.waiting, self.prefetch.allowance) == (0, 0)

    def short_round(self) -> int:
        """Hand over jobs that are done within moments; return how many may wait then."""
        self.hand_over(10)
        self.pass_by(0.01, began=10)
        for _ in range(2):
            self.prefetch.ran_dry(self.prefetch.batch)
        return self.prefetch.allowance


@pytest.fixture
def queue() -> Queue:
    return Queue()


def test_many_may_wait_at_first(queue: Queue) -> None:
    assert queue.prefetch.allowance == FIRST


def glance(queue: Queue) -> float:
    """Look at the queue since more places are wanted than there are."""
    return queue.prefetch.glance(queue.waiting)


@pytest.mark.parametrize(("began", "allowance"), [(157, MOST), (156, FIRST)])
def test_more_may_wait_as_soon_as_jobs_are_seen_to_be_short(
    queue: Queue, began: int, allowance: int
) -> None:
    queue.hand_over(FIRST)
    queue.pass_by(0.0078125)
    # Where 157 are begun in 15.625 ms, 2,000 are within four times 50 ms.
    assert glance(queue) == 0
    assert queue.prefetch.allowance == FIRST
    queue.pass_by(0.0078125, began)
    assert glance(queue) == 0
    assert queue.prefetch.allowance == allowance


def test_how_short_jobs_are_is_known_in_a_few_milliseconds(queue: Queue) -> None:
    queue.hand_over(FIRST)
    queue.pass_by(0.003, began=500)
    assert glance(queue) == pytest.approx(0.002)
    assert queue.prefetch.allowance == FIRST
    queue.pass_by(0.0025)
    assert glance(queue) == 0
    assert queue.prefetch.allowance == MOST


def test_a_pace_is_that_of_the_present_batches_only(queue: Queue) -> None:
    queue.hand_over(FIRST)
    queue.pass_by(0.02, began=FIRST)
    queue.pass_by(10.0)
    queue.hand_over(FIRST)
    queue.pass_by(0.02, began=1)
    assert glance(queue) == 0
    assert queue.prefetch.allowance == FIRST


def test_nobody_waits_to_see_what_was_seen(queue: Queue) -> None:
    assert glance(queue) == 0
    queue.stand_still()
    queue.hand_over(10)
    assert glance(queue) == 0
    assert queue.prefetch.allowance == 0


def test_what_is_begun_within_moments_is_never_given_back(queue: Queue) -> None:
    for _ in range(10):
        queue.hand_over(FIRST)
        queue.pass_by(LOOK_S, began=FIRST)
        assert queue.look() == 0
    assert queue.prefetch.allowance == FIRST


def test_all_is_given_back_where_nothing_is_begun(queue: Queue) -> None:
    queue.hand_over(600)
    queue.pass_by(LOOK_S)
    # Nobody has seen yet how long it waits.
    assert queue.look() == 0
    queue.pass_by(LOOK_S)
    assert queue.look() == 600
    assert queue.prefetch.allowance == 0


def test_nothing_is_decided_before_a_moment_has_passed(queue: Queue) -> None:
    queue.hand_over(600)
    queue.pass_by(LOOK_S)
    queue.look()
    queue.pass_by(0.04)
    assert queue.look() == 0
    assert queue.prefetch.allowance == FIRST


@pytest.mark.parametrize("late", [1, 2, 5])
def test_as_many_may_wait_as_begin_in_a_moment_and_four_times_that_stay(
    queue: Queue, late: int
) -> None:
    queue.hand_over(FIRST)
    queue.pass_by(LOOK_S)
    queue.look()
    # Looked at too late, the pace is the same.
    queue.pass_by(late * LOOK_S, began=late * 25)
    assert queue.look() == FIRST - late * 25 - 80
    assert (queue.waiting, queue.prefetch.allowance) == (80, 20)


def test_a_steady_pace_gives_nothing_back_a_second_time(queue: Queue) -> None:
    queue.hand_over(FIRST)
    given_back = []
    allowed = set()
    for _ in range(400):
        queue.pass_by(LOOK_S / 4, began=min(5, queue.waiting))
        given_back.append(queue.look())
        if not queue.waiting:
            queue.prefetch.ran_dry(queue.prefetch.batch)
        if queue.waiting < queue.prefetch.allowance:
            queue.hand_over(queue.prefetch.allowance - queue.waiting)
        allowed.add(queue.prefetch.allowance)
    assert len([each for each in given_back if each]) == 1
    assert allowed == {FIRST, 16}


def test_jobs_that_came_since_the_last_look_are_no_reason_to_shrink(queue: Queue) -> None:
    queue.hand_over(10)
    queue.pass_by(LOOK_S)
    queue.look()
    queue.pass_by(LOOK_S, began=10)
    queue.hand_over(500)
    assert queue.look() == 0
    assert queue.prefetch.allowance == FIRST


def test_it_grows_fourfold_with_each_batch_that_is_done_within_moments(queue: Queue) -> None:
    queue.stand_still()
    assert [queue.short_round() for _ in range(6)] == [4, 16, 64, 256, 1_024, MOST]


def test_what_it_has_grown_by_is_not_given_back_at_the_same_pace(queue: Queue) -> None:
    queue.stand_still()
    assert [queue.short_round() for _ in range(3)][-1] == 64
    queue.hand_over(64)
    queue.pass_by(LOOK_S)
    queue.look()
    queue.pass_by(LOOK_S, began=20)
    assert queue.look() == 0
    assert (queue.waiting, queue.prefetch.allowance) == (44, 16)


def test_it_does_not_grow_with_long_jobs(queue: Queue) -> None:
    queue.stand_still()
    for _ in range(3):
        queue.hand_over(WORKERS)
        queue.pass_by(LOOK_S, began=WORKERS)
        queue.prefetch.ran_dry(queue.prefetch.batch)
        assert queue.prefetch.allowance == 0


def test_it_does_not_grow_when_long_jobs_end_side_by_side(queue: Queue) -> None:
    """The one takes a new job; that the other finds none right after that means nothing."""
    queue.stand_still()
    queue.hand_over(2)
    queue.pass_by(1.0, began=2)
    batch = queue.prefetch.batch
    queue.prefetch.ran_dry(batch)
    queue.hand_over(1)
    queue.pass_by(0.001, began=1)
    queue.prefetch.ran_dry(batch)
    assert queue.prefetch.allowance == 0


def test_it_does_not_grow_when_all_wanted_places_were_given(queue: Queue) -> None:
    queue.stand_still()
    queue.hand_over(10, wanted=False)
    queue.pass_by(0.01, began=10)
    queue.prefetch.ran_dry(queue.prefetch.batch)
    assert queue.prefetch.allowance == 0
