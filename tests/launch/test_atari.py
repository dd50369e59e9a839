"""The Atari scripts from the command line."""

import pytest

pytest.importorskip("ale_py", reason="ale-py carries the ROMs: pip install '.[roms]'")


@pytest.mark.parametrize("name", ["play", "conformance", "bench_atari"])
def test_help_has_an_example_and_what_to_expect(launch, name):
    text = launch(name, "--help").stdout
    assert f"python -m launch.{name}" in text
    assert "Expected:" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--game=breakuot",), "breakout"),
        (("--game=pong", "--mode=77"), "77"),
        (("--game=/no/such/rom.bin",), "/no/such/rom.bin"),
    ],
)
def test_bad_input_is_one_clear_line(launch, flags, message, tmp_path):
    done = launch("play", *flags, f"--output={tmp_path / 'x.gif'}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr
