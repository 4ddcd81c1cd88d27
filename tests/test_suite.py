"""The suite itself: what its runner must do for the tests to mean what they say."""

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="the tests run in one process")
@pytest.mark.xdist_group("suite")
def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    """The runner has read the mark: what a group shares is built once, not by each worker."""
    assert request.node.nodeid.endswith("@suite")
