"""Keys that the encrypted tests share."""

import pytest

from fhe.keys import keygen
from fhe.params import R64, TOY


@pytest.fixture(scope="session")
def r64():
    """Client and server keys of the default set."""
    return keygen(R64, insecure_test_seed=64)


@pytest.fixture(scope="session")
def toy():
    """Client and server keys of a tiny set with the same structure."""
    return keygen(TOY, allow_insecure=True, insecure_test_seed=1)
