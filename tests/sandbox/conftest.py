"""Each test of the sandbox runs at every level that works on the machine."""

from __future__ import annotations

import pytest

from axolotl_dmt.sandbox import Level, why_not


@pytest.fixture(params=list(Level), ids=[level.value for level in Level])
def level(request: pytest.FixtureRequest) -> Level:
    param: Level = request.param
    if why_not(param):
        pytest.skip(f"no {param.value} on this machine: {why_not(param)}")
    return param
