"""The compile report from the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from fhe import formats

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "launch.compile", *flags],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_report_netlist_and_plot(tmp_path: Path) -> None:
    netlist, plot = tmp_path / "out" / "add.json", tmp_path / "out" / "add.png"
    done = run(
        f"--program={EXAMPLES / 'add.c'}",
        "--objective=size",
        f"--netlist={netlist}",
        f"--widths={plot}",
    )
    assert done.returncode == 0, done.stderr
    for words in ("int a, int b", "int return", "63", "32", "maj3"):
        assert words in done.stdout
    assert formats.read(netlist).simulate([20, 22]) == {"return": 42}
    assert plot.read_bytes().startswith(b"\x89PNG")
    again = run(f"--program={netlist}")
    assert again.returncode == 0, again.stderr
    assert "63" in again.stdout


def test_public_values() -> None:
    done = run(
        f"--program={EXAMPLES / 'pir.c'}", f'--public={{"database": {[*range(64)]}}}'
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([f"--program={EXAMPLES / 'pir.c'}"], "database is public"),
        (["--program=missing.c"], "no such file"),
        ([f"--program={EXAMPLES / 'add.c'}", "--public={"], "error:"),
    ],
)
def test_errors(flags: list[str], reason: str) -> None:
    done = run(*flags)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
