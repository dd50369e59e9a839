"""Summaries against hand-computed numbers; tables and pictures that can be opened."""

import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tiny_problem import dataset

from fidelity import mismatch, report


def row(loss, seed, cie, cie_u, held_out, accuracy=0.9):
    return {
        "recipe": "80%",
        "loss": loss,
        "seed": seed,
        "accuracy_reference": 0.92,
        "accuracy": accuracy,
        "cie": cie,
        "cie_u": cie_u,
        "held_out_cie": held_out,
    }


ROWS = [
    row("ce", 0, 40, 20, 9),
    row("ce", 1, 60, 30, 11),
    row("kd", 0, 20, 5, 6),
    row("kd", 1, 20, 5, 4),
]


def flips(*counts, size=200):
    return np.stack([np.arange(size) < count for count in counts])


FLIPS = {("80%", "ce"): flips(40, 60), ("80%", "kd"): flips(20, 20)}


def test_means_spreads_and_factors():
    ce, kd = report.summarize(ROWS, FLIPS)
    assert (ce["cie"], ce["cie_u"]) == (50, 25)
    assert ce["cie_std"] == pytest.approx(200**0.5)
    assert "cie_factor" not in ce
    assert kd["cie_factor"] == 2.5
    assert kd["cie_u_factor"] == 5.0
    assert kd["cie_factor_low"] < 2.5 < kd["cie_factor_high"]


def test_choice_uses_the_held_out_split_alone():
    worse_on_test = [
        *ROWS[:2],
        row("kd", 0, 90, 50, 1),
        row("kd", 1, 90, 50, 1),
    ]
    ce, kd = report.summarize(worse_on_test, FLIPS)
    assert kd.get("chosen") is True
    assert "chosen" not in ce


def test_no_mismatch_is_an_infinite_factor():
    _, kd = report.summarize([ROWS[0], row("kd", 0, 0, 0, 0)], {})
    assert kd["cie_factor"] == float("inf")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], (3.0, 0.0)), ([1.0, 3.0], (2.0, 2**0.5)), ([2, 4, 9], (5.0, 13**0.5))],
)
def test_mean_and_spread(values, expected):
    assert report.mean_and_spread(values) == pytest.approx(expected)


def test_scalars_are_plain_numbers():
    logits = np.eye(4, dtype=np.float32)
    found = mismatch.compare(logits, logits[::-1], np.arange(4))
    plain = report.scalars(found)
    assert plain["cie"] == 4
    assert json.loads(json.dumps(plain)) == plain
    assert "cie_by_class" not in plain


def test_json_lines(tmp_path):
    report.write_json_lines(tmp_path / "rows.jsonl", ROWS)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_table_shows_factors_and_the_floor():
    console = Console(width=140, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    table = report.table(report.summarize(ROWS, FLIPS), title="t", churn=[70, 74])
    with console.file:
        console.print(table)
    text = console.export_text()
    assert "kd *" in text
    assert "2.50x [" in text
    assert "5.00x" in text
    assert "50 ± 14" in text
    assert "churn floor (two dense seeds): 72 ± 3" in text


def is_picture(path):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    return min(pixels.shape) > 200 and pixels.std() > 1


def test_pictures_open(tmp_path):
    summary = report.summarize(ROWS, FLIPS)
    report.plot_sparsity(tmp_path / "s.png", summary, {"80%": 0.8}, churn=72)
    counts = {"ce": np.array([5, 3, 1, 0]), "kd": np.array([1, 0, 0, 0])}
    report.plot_classes(tmp_path / "c.png", counts, list("abcd"))
    assert is_picture(tmp_path / "s.png")
    assert is_picture(tmp_path / "c.png")


@pytest.mark.parametrize("changed", [0, 1, 40])
def test_example_pictures_for_any_number_of_flips(tmp_path, changed):
    test = dataset(64)
    labels = np.where(np.arange(64) < changed, (test.labels + 1) % 4, test.labels)
    path = tmp_path / "e.png"
    names = list("abcd")
    report.plot_examples(path, test, names, test.labels, labels, title="changed")
    assert is_picture(path)
