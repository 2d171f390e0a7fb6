"""What an import says of the space that it has taken."""

from __future__ import annotations

from runnerd.models.intake_cost import Cost


def test_each_file_counts_once() -> None:
    """What is here already takes nothing, whichever way it would have come."""
    cost = Cost()
    cost.count(1, here=True, cloned=True, borrowed=True)
    cost.count(2, here=False, cloned=False, borrowed=True)
    cost.count(4, here=False, cloned=True)
    cost.count(8, here=False, cloned=False)
    assert cost == Cost(present=1, borrowed=2, cloned=4, copied=8)


def test_only_what_there_was_is_said() -> None:
    """The owner reads of each way that was taken, and of no other."""
    assert str(Cost()) == ""
    assert str(Cost(copied=2**20)).startswith("1.00 MiB copied")
    assert str(Cost(cloned=1, present=1)).count(";") == 1
