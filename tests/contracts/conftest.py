"""Every mix, one after the other."""

import pytest

from tests.contracts.mixes import MIXES


@pytest.fixture(params=MIXES)
def case(request):
    return MIXES[request.param]
