"""What is told of the limit of results."""

from __future__ import annotations

from runnerd.jobs.results_limit import results_full, too_many_results


def test_both_say_which_setting_and_what_to_do() -> None:
    """The job's reason, and the refusal of more."""
    refused = too_many_results(7)
    for said in (results_full(7), refused.message):
        assert "7 bytes" in said
        assert "jobs.result_bytes" in said
        assert "`runnerd jobs rm`" in said
    assert (refused.status, refused.limit) == (429, "jobs_result_bytes")
