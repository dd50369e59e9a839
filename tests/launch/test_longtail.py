"""The long-tail study as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest


def launch(name, *flags):
    return subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *flags],
        capture_output=True,
        text=True,
        timeout=600,
    )


SMALL = (
    "--recipes=0.9",
    "--losses=ce,kd",
    "--seeds=2",
    "--epochs=2",
    "--recovery_epochs=1",
    "--models=16",
    "--ensemble_chunk=8",
    "--ensemble_epochs=2",
    "--proxy_seeds=1",
    "--resamples=20",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    output = tmp_path_factory.mktemp("longtail")
    return output, launch("longtail", *SMALL, f"--output={output}")


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_run_prints_tables_and_writes_everything(small):
    output, done = small
    assert done.returncode == 0, done.stderr
    assert "16 models in" in done.stdout
    assert "training examples that change label are the memorized ones" in done.stdout
    assert {p.name for p in output.glob("*.png")} == {
        "bins-test.png",
        "bins-train.png",
        "memorized-90pct.png",
        "pairs-90pct.png",
    }
    (summary,) = read(output / "summary.jsonl")
    assert json.loads(done.stdout.splitlines()[-1]) == summary
    assert set(summary["proxy_spearman"]) == {
        "forgetting",
        "el2n",
        "grand",
        "loss_area",
        "leave_one_out",
    }
    assert 0 < summary["split_half_pearson"] < summary["split_half_reliability"] < 1


def test_rows_cover_splits_and_losses_and_show_the_finding(small):
    output, _ = small
    rows = read(output / "relation.jsonl")
    found = [(row["split"], row["recipe"], row["loss"]) for row in rows]
    one = [("churn", "-"), ("90%", "ce"), ("90%", "kd")]
    assert found == [(split, *r) for split in ("train", "test") for r in one]
    # The paper's claim in small: memorized examples are the ones that change label.
    for row in rows[1:3]:
        assert row["auc_low"] > 0.6
        assert row["mean_changed"] > 2 * row["mean_kept"]
    assert {"auc_minus_ce", "modal_changed", "classes"} <= rows[2].keys()
    assert sum(g["examples"] for g in rows[1]["classes"]) == rows[1]["examples"]


def test_scores_carry_the_ids_of_the_data(small):
    output, _ = small
    with np.load(output / "scores.npz") as saved:
        index, memorization = saved["index"], saved["memorization"]
    assert len(np.unique(index)) == len(index) == len(memorization) == 3600
    with np.load(output / "influence.npz") as saved:
        assert np.isin(saved["train_index"], index).all()
        assert saved["value"].shape == saved["train_index"].shape == (1000, 8)


def test_second_run_needs_resume_and_repeats_the_rows(small):
    output, _ = small
    refused = launch("longtail", *SMALL, f"--output={output}")
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    before = (output / "relation.jsonl").read_text()
    again = launch("longtail", *SMALL, f"--output={output}", "--resume")
    assert again.returncode == 0, again.stderr
    assert (output / "relation.jsonl").read_text() == before


def test_scores_of_an_earlier_run_are_used_whole(small):
    output, _ = small
    before = read(output / "relation.jsonl")
    flags = (*SMALL, f"--output={output}", "--resume")
    done = launch("longtail", *flags, f"--scores={output}")
    assert done.returncode == 0, done.stderr
    after = read(output / "relation.jsonl")
    assert [row["split"] for row in after] == ["train"] * 3 + ["test"] * 3
    assert [row["auc"] for row in after] == [row["auc"] for row in before]
    refused = launch("longtail", *flags, f"--scores={output}", "--imbalance=2")
    assert refused.returncode == 1
    assert "are about other examples" in refused.stderr


def test_given_scores_replace_the_ensemble(small, tmp_path):
    output, _ = small
    before = read(output / "relation.jsonl")
    published = tmp_path / "published.npz"
    with np.load(output / "scores.npz") as saved:
        mem = np.full(saved["index"].max() + 1, np.nan)
        mem[saved["index"]] = saved["memorization"]
    np.savez(published, tr_mem=mem)
    done = launch(
        "longtail", *SMALL, f"--output={output}", "--resume", f"--scores={published}"
    )
    assert done.returncode == 0, done.stderr
    rows = read(output / "relation.jsonl")
    assert [row["split"] for row in rows] == ["train"] * 3
    assert [row["auc"] for row in rows] == [row["auc"] for row in before[:3]]
    assert rows[0]["auc_hardness"] is None


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--recipes=cube:0.5", "unknown structure 'cube'; choose from unstructured"),
        ("--recipes=1.5", "1.5"),
        ("--ensemble_network=vgg99", "vgg99"),
        ("--ratio=1", "ratio 1"),
        ("--scores=/no/such.npz", "/no/such.npz"),
    ],
)
def test_bad_flag_is_one_clear_line(flag, message, tmp_path):
    done = launch("longtail", flag, f"--output={tmp_path / 'x'}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["longtail", "bench_memorize"])
def test_help_has_an_example_and_what_to_expect(name):
    text = launch(name, "--help").stdout
    assert f"python -m launch.{name}" in text
    assert "Expected:" in text


def test_bench_reports_rates_and_floors():
    done = launch(
        "bench_memorize",
        "--examples=100",
        "--tests=20",
        "--epochs=1",
        "--batch_sizes=20",
        "--chunks=2",
        "--repeats=1",
        "--nobfloat16",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    (row,) = rows
    assert row["seconds"] == pytest.approx(2000 / row["models_per_second"])
    assert row["seconds"] > row["floor_flops_seconds"] > 0
