"""The launch script as a user runs it."""

import json

import pytest

SMALL = (
    "--network=mlp",
    "--recipes=0.9+int4",
    "--losses=ce,kd",
    "--seeds=2",
    "--epochs=2",
    "--recovery_epochs=1",
)


@pytest.fixture(scope="module")
def small(launch, tmp_path_factory):
    output = tmp_path_factory.mktemp("compress")
    return output, launch("compress", *SMALL, f"--output={output}")


def test_run_prints_a_table_and_writes_everything(small):
    output, done = small
    assert done.returncode == 0, done.stderr
    assert "90% + int4" in done.stdout
    assert "churn floor" in done.stdout
    rows = [json.loads(x) for x in (output / "summary.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in rows] == ["ce", "kd"]
    assert json.loads(done.stdout.splitlines()[-1]) == rows[-1]
    assert {p.name for p in output.glob("*.png")} == {
        "classes-90pct-int4.png",
        "flips-90pct-int4.png",
    }
    assert len(list(output.rglob("network.fid"))) == 4


def test_second_run_needs_resume_and_repeats_the_summary(launch, small):
    output, _ = small
    refused = launch("compress", *SMALL, f"--output={output}")
    assert refused.returncode == 1
    assert "--resume" in refused.stderr
    before = (output / "summary.jsonl").read_text()
    assert launch("compress", *SMALL, f"--output={output}", "--resume").returncode == 0
    assert (output / "summary.jsonl").read_text() == before


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--recipes=1.0", "1.0"),
        ("--recipes=-0.1", "-0.1"),
        ("--recipes=int9", "9"),
        ("--losses=ce,nope", "unknown loss 'nope'; choose from ce"),
        ("--network=vgg99", "vgg99"),
        ("--data=idx:/no/such/folder", "/no/such/folder"),
    ],
)
def test_bad_flag_is_one_clear_line(launch, flag, message, tmp_path):
    done = launch("compress", flag, f"--output={tmp_path / 'x'}")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["compress", "bench_fidelity", "tour"])
def test_help_has_an_example_and_what_to_expect(launch, name):
    text = launch(name, "--help").stdout
    assert f"python -m launch.{name}" in text
    assert "Expected:" in text


def test_bench_reports_rates_and_enforces_the_floor(launch):
    done = launch(
        "bench_fidelity",
        "--network=mlp",
        "--batch_sizes=8",
        "--steps=2",
        "--repeats=1",
        "--nobfloat16",
        "--floor=1e12",
    )
    assert done.returncode == 1
    assert "not the floor" in done.stderr
    rows = [json.loads(x) for x in done.stdout.splitlines() if x.startswith("{")]
    assert [row["kind"] for row in rows] == ["train", "re-train"]
    assert all(row["examples_per_second"] > 0 for row in rows)
