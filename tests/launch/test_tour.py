"""The first command of the README."""

import json

import pytest
from PIL import Image

pytest.importorskip("ale_py", reason="ale-py carries the ROMs: pip install '.[roms]'")


def test_tour_runs_to_the_end(launch, tmp_path):
    done = launch("tour", f"--output={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert "decrypted: 42" in done.stdout
    with Image.open(tmp_path / "atari.gif") as film:
        assert film.n_frames > 1
    summary = (tmp_path / "fidelity" / "summary.jsonl").read_text().splitlines()
    rows = {(r["recipe"], r["loss"]): r for r in map(json.loads, summary)}
    # The paper's claim in small, at equal accuracy within a point.
    ce, kd = rows["int4", "ce"], rows["int4", "kd"]
    assert kd["cie"] < ce["cie"]
    assert kd["accuracy"] > ce["accuracy"] - 0.01
    # The second paper's: memorized examples are the ones that change label.
    lines = (tmp_path / "longtail" / "relation.jsonl").read_text().splitlines()
    train = [r for r in map(json.loads, lines) if r["split"] == "train"]
    assert [(r["recipe"], r["loss"]) for r in train[1:]] == [
        (recipe, loss) for recipe in ("int4", "80% + int8") for loss in ("ce", "kd")
    ]
    for row in (r for r in train[1:] if r["mismatch_rate"] > 0.005):
        assert row["auc_low"] > 0.6
