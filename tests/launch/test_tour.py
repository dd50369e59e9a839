"""The first command of the README."""

import json
import subprocess
import sys


def test_tour_runs_to_the_end(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "launch.tour", f"--output={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    summary = (tmp_path / "fidelity" / "summary.jsonl").read_text().splitlines()
    rows = {(r["recipe"], r["loss"]): r for r in map(json.loads, summary)}
    # The paper's claim in small, at equal accuracy within a point.
    ce, kd = rows["int4", "ce"], rows["int4", "kd"]
    assert kd["cie"] < ce["cie"]
    assert kd["accuracy"] > ce["accuracy"] - 0.01
