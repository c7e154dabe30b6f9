"""The judge of random kills: which lost requests a kill explains."""

import pytest
from tests.process_kubelet.load import Asked
from tests.process_kubelet.random_kills import Kill, Losses

RIGHT = [1, 2]
KILL = Kill("the leader", at=10.0, place="a:8000", left=13.0)


@pytest.mark.parametrize(
    ("place", "began", "ended", "in_work", "explained"),
    [
        ("a:8000", 9.0, 11.0, True, True),
        ("a:8000", 12.0, 20.0, False, True),
        ("a:8000", 13.5, 14.0, False, False),
        ("a:8000", 8.0, 9.5, False, False),
        ("b:8000", 9.0, 11.0, False, False),
        ("", 11.0, 11.0, False, False),
    ],
    ids=[
        "in work at the kill",
        "before the leader has left the Service",
        "after the leader has left the Service",
        "over before the kill",
        "on the other group",
        "the Service selects no pod",
    ],
)
def test_only_requests_to_the_killed_group_are_explained(
    place: str, began: float, ended: float, in_work: bool, explained: bool
) -> None:
    lost = Asked(place, began, ended, [], "gone")
    found = Losses([lost], [KILL], RIGHT)
    assert (found.in_work == [lost], found.unexplained == []) == (in_work, explained)


def test_other_tokens_are_a_loss_and_the_longest_wait_is_that_of_any_request() -> None:
    right, wrong = Asked("b:8000", 1.0, 4.0, RIGHT), Asked("b:8000", 1.0, 2.0, [1, 3])
    found = Losses([right, wrong], [KILL], RIGHT)
    assert (found.lost, found.unexplained, found.longest_wait) == ([wrong], [wrong], 3.0)
