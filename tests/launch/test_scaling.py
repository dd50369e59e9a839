"""Scaling: what is measured and how it is reckoned."""

import catch
import jax
import numpy as np
import pytest

from launch import common, loads_atari, loads_fhe, loads_fidelity, scaling
from launch.scaling import Load, Work


@pytest.fixture
def clock(monkeypatch):
    """A clock that only work moves."""

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(scaling, "time", clock)
    return clock


def test_rates_speedups_and_shares(clock):
    """A load that takes 1 ms a unit, and 10 ms of exchange between two devices."""
    made, checked = [], []

    def make(devices, size):
        made.append((len(devices), size))
        sent = 0.01 if len(devices) > 1 else 0.0

        def call():
            clock.now += 1e-3 * size / len(devices) + sent

        def exchange():
            clock.now += sent

        return Work(
            call, size, exchange if sent else None, lambda: checked.append(size)
        )

    seen = []
    load = Load("toy", "units", 100, make)
    rows = scaling.measure(load, [1, 2], ["strong", "weak"], 3, seen.append)
    assert seen == rows
    assert made == [(1, 100), (2, 100), (2, 200)]
    assert checked == [100, 100, 200]
    found = [(r["scaling"], r["devices"], r["size"]) for r in rows]
    assert found == [
        ("strong", 1, 100),
        ("strong", 2, 100),
        ("weak", 1, 100),
        ("weak", 2, 200),
    ]
    want = [1.0, 100 / 60, 1.0, 200 / 110]
    np.testing.assert_allclose([r["speedup"] for r in rows], want)
    np.testing.assert_allclose(rows[1]["efficiency"], 100 / 120)
    np.testing.assert_allclose([r["rate"] for r in rows[::3]], [1000, 200 / 0.11])
    assert rows[0]["communication"] is None
    np.testing.assert_allclose(rows[1]["communication"], 1 / 6)


def test_speedup_counts_the_fewest_devices_as_themselves(clock, monkeypatch):
    def make(devices, size):
        def call():
            clock.now += size / len(devices)

        return Work(call, size)

    devices = jax.devices() * 2
    monkeypatch.setattr(scaling.jax, "devices", lambda: devices)
    rows = scaling.measure(Load("toy", "units", 8, make), [2, 4], ["weak"], 1)
    assert [(r["size"], r["speedup"], r["efficiency"]) for r in rows] == [
        (8, 2.0, 1.0),
        (16, 4.0, 1.0),
    ]


def test_absent_devices_are_left_out_with_a_reason():
    counts, refused = scaling.usable(["4", "1", "2", "2"])
    assert counts == [1, 2]
    assert refused == ["4 devices are left out: 2 present"]


@pytest.mark.parametrize("asked", [["two"], ["0"], [], ["1", ""]])
def test_numbers_of_devices_are_numbers(asked):
    with pytest.raises(ValueError, match="numbers such as 1,2,4"):
        scaling.usable(asked)


def test_work_that_does_not_split_is_refused():
    with pytest.raises(ValueError, match="7 consoles do not split over 2 devices"):
        scaling.share(7, jax.devices(), "consoles")


def test_reduction_averages_arrays_of_a_tree_s_shapes():
    tree = {"a": np.zeros((3, 2), np.float32), "b": np.ones(5, np.float32)}
    found = scaling.reduction(tree, tuple(jax.devices()), 4)()
    # Eleven numbers, 0 on one device and 1 on the other.
    np.testing.assert_allclose(found, [5.5, 5.5])


def test_games_do_not_depend_on_the_devices():
    env = catch.make()
    bank = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 2))
    devices = tuple(jax.devices())
    plays = []
    for group in (devices[:1], devices):
        call = loads_atari.emulate(env, bank, group, 6, 4)
        plays.append([np.concatenate(call(), axis=1) for _ in range(2)])
    np.testing.assert_array_equal(*plays)
    assert len(np.unique(plays[0])) > 1


TRAINING = {
    "agent": lambda: loads_atari.training(
        "pqn",
        "catch",
        4,
        ["steps=4", "minibatch=8", "network=mlp", "bfloat16=false", "bank=2"],
        catch.make(),
    ),
    "network": lambda: loads_fidelity.retraining(
        "mlp", 8, 2, image_size=8, bfloat16=False
    ),
}


@pytest.mark.parametrize("name", TRAINING)
def test_two_devices_train(name, tmp_path):
    rows = scaling.measure(TRAINING[name](), [2], ["strong", "weak"], 1)
    assert [row["devices"] for row in rows] == [2, 2]
    assert all(row["communication"] > 0 for row in rows)
    picture = scaling.plot(tmp_path / "s.png", rows, "toys")
    assert picture.stat().st_size > 10_000
    assert scaling.table(rows, "toys").row_count == 2


def test_a_wrong_result_is_an_error(tmp_path, monkeypatch):
    path = tmp_path / "and.c"
    path.write_text("_Bool f(_Bool a, _Bool b) { return a && b; }")
    load = loads_fhe.program(str(path), "wide", "toy", "int8", (8, 8))
    work = load.make(tuple(jax.devices()[:1]), 1)
    work.call()
    work.check()
    right = loads_fhe.load(str(path)).simulate
    monkeypatch.setattr(
        loads_fhe.fhe.Circuit,
        "simulate",
        lambda _, inputs: {"return": 1 - right(inputs)["return"]},
    )
    with pytest.raises(ValueError, match="decrypted to wrong values of"):
        work.check()


@pytest.mark.parametrize(
    ("arguments", "hosts", "message"),
    [
        ((None, 2, 0), True, "needs --coordinator"),
        ((None, 1, 1), True, "needs --coordinator"),
        (("localhost:1", 2, 2), True, "process_id=2 must be below --num_processes=2"),
        (("localhost:1", 2, 0), False, "runs on one host"),
    ],
)
def test_flags_of_hosts_that_contradict_each_other(arguments, hosts, message):
    with pytest.raises(SystemExit, match=message):
        common.connect(*arguments, hosts=hosts)


def test_help_and_bad_input(launch):
    text = launch("bench_scaling", "--help").stdout
    assert "python -m launch.bench_scaling" in text
    assert "Expected:" in text
    done = launch("bench_scaling", "--system=atari", "--devices=16")
    assert done.returncode == 1
    assert "16 devices are left out: 2 present" in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last == "error: nothing to measure with 2 devices"
