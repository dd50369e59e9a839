"""Scripts as a user runs them."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def launch():
    """Runs `python -m launch.NAME FLAGS` from the root of the repository."""

    def run(name, *flags):
        return subprocess.run(
            [sys.executable, "-m", f"launch.{name}", *flags],
            capture_output=True,
            text=True,
            timeout=1200,
            cwd=Path(__file__).parents[2],
        )

    return run
