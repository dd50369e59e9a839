"""Training from a host: rows, checkpoints, settings, marks; the scripts' faces."""

import json

import catch
import jax
import numpy as np
import pytest

from atari.agents import ppo
from launch import bench_agents, learning, watch

SMALL = ["num_envs=16", "steps=8", "minibatch=64", "network=mlp", "bank=4"]
SMALL += ["bfloat16=false", "stagger=8"]


def tiny(updates: int = 12, axis_name=None):
    env = catch.make()
    config = learning.configure("ppo", [*SMALL, f"updates={updates}"], 1, 1)
    return ppo.make(config, env, axis_name), env


def test_a_killed_run_goes_on_to_the_same_end(tmp_path) -> None:
    agent, env = tiny()
    whole = learning.fit(agent, env, 0, 12)
    learning.fit(agent, env, 0, 5, directory=tmp_path, metadata={"game": "catch"})
    rows = []
    resumed = learning.fit(
        agent,
        env,
        0,
        12,
        directory=tmp_path,
        resume=True,
        metadata={"game": "catch"},
        on_update=lambda row, state: rows.append(row),
    )
    jax.tree.map(np.testing.assert_array_equal, whole.state, resumed.state)
    assert [row["update"] for row in rows] == [6, 7, 8, 9, 10, 11, 12]
    for name in ("update", "frames", "score", "games", "rate", "loss"):
        one = [row[name] for row in whole.rows]
        assert one == [row[name] for row in resumed.rows]
    seconds = [row["seconds"] for row in resumed.rows]
    assert seconds == sorted(seconds)


def test_a_checkpoint_of_another_run_is_refused(tmp_path) -> None:
    agent, env = tiny()
    learning.fit(agent, env, 0, 2, directory=tmp_path, metadata={"seed": 0})
    with pytest.raises(ValueError, match="has seed=0, not 1; use its settings"):
        learning.fit(
            agent, env, 1, 3, directory=tmp_path, resume=True, metadata={"seed": 1}
        )


def test_two_devices_make_twice_the_frames() -> None:
    agent, env = tiny(axis_name="devices")
    run = learning.fit(agent, env, 0, 2, devices=2)
    assert run.rows[-1]["frames"] == 2 * 2 * 16 * 8
    params = learning.parameters(run.state, 2)
    module = ppo.make(ppo.Config(16, 8, minibatch=64, network="mlp"), env)
    assert module.act(params, jax.random.key(0), np.zeros((3, 1, 6, 5), np.uint8)).shape
    with pytest.raises(ValueError, match=r"99 devices asked for, \d+ present"):
        learning.fit(agent, env, 0, 2, devices=99)


def test_time_can_be_limited() -> None:
    agent, env = tiny()
    assert len(learning.fit(agent, env, 0, 12, max_seconds=0.0).rows) == 1


@pytest.mark.parametrize(
    ("agent", "settings", "expected"),
    [
        ("ppo", ["learning_rate=1e-3", "steps=32"], {"learning_rate": 1e-3}),
        ("ppo", ["anneal=false", "network=impala"], {"anneal": False}),
        ("dqn", ["prioritised=true"], {"prioritised": True}),
        ("a2c", ["entropy=0"], {"entropy": 0.0}),
        ("pqn", ["updates=7"], {"updates": 7}),
    ],
)
def test_settings_become_a_configuration(agent, settings, expected) -> None:
    config = learning.configure(agent, settings, 10_000_000, 4)
    for name, value in expected.items():
        assert getattr(config, name) == value
        assert type(getattr(config, name)) is type(value)


def test_frames_become_updates() -> None:
    config = learning.configure("ppo", ["num_envs=1024", "steps=8"], 10_000_000, 4, 2)
    assert config.updates == -(-10_000_000 // (1024 * 8 * 4 * 2))


@pytest.mark.parametrize(
    ("agent", "setting", "message"),
    [
        ("sarsa", "", "unknown agent 'sarsa'; known: a2c, dqn, ppo, pqn"),
        ("ppo", "gamma=1", "ppo has no setting 'gamma'; it has num_envs"),
        ("ppo", "steps=many", "steps='many' is not int, as 16 is"),
        ("ppo", "anneal=1", "anneal='1' is not bool"),
    ],
)
def test_bad_settings_are_refused(agent, setting, message) -> None:
    with pytest.raises(ValueError, match=message):
        learning.configure(agent, [setting] if setting else [], 1, 4)


@pytest.mark.parametrize(
    ("low", "high", "number", "expected"),
    [
        (-1, 7, 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        (-1, 7, 4, [1, 3, 5, 7]),
        (3, 7, 8, [4, 5, 6, 7]),
        (3, 4, 8, [4]),
    ],
)
def test_snapshots_are_spread_and_end_with_the_last(low, high, number, expected):
    assert bench_agents.between(low, high, number) == expected


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({1: 3.0, 4: 18.0, 7: 20.0}, (1, 4)),
        ({1: 18.0, 4: 3.0}, (-1, 1)),
        ({7: 17.9}, (7, None)),
    ],
)
def test_the_first_to_reach_a_mark(scores, expected) -> None:
    assert bench_agents.bracket(scores, 18) == expected


def test_training_reaches_a_mark_with_its_own_games() -> None:
    rows = [
        {"score": score, "seconds": float(i)}
        for i, score in enumerate([None, 3.0, 18.5, 17.0])
    ]
    assert bench_agents.crossing(rows, 18.0) == 2
    assert bench_agents.crossing(rows, 19.0) is None


def test_shares_add_up() -> None:
    agent, _ = tiny()
    state = jax.jit(agent.init)(jax.random.key(0))
    config = ppo.Config(16, 8, minibatch=64, network="mlp", bank=4)
    found = bench_agents.shares(agent, config, state, 10.0)
    assert sum(found.values()) == pytest.approx(1)
    assert 0 < found["inference_share"] < found["emulation_share"] < 1


def test_a_curve_is_drawn(tmp_path) -> None:
    rows = [{"score": None, "frames": 4, "seconds": 0.1}]
    rows += [{"score": i, "frames": 8 * i, "seconds": 0.2 * i} for i in range(1, 5)]
    path = watch.curve(tmp_path / "curve.png", "pong", rows)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["train_agent", "bench_agents"])
def test_help_has_an_example_and_what_to_expect(launch, name) -> None:
    text = launch(name, "--help").stdout
    assert f"python -m launch.{name}" in text
    assert "Expected:" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--game=breakuot",), "breakout"),
        (("--set=gamma=1",), "ppo has no setting 'gamma'"),
        (("--set=minibatch=100",), "minibatch must divide"),
    ],
)
def test_bad_input_is_one_clear_line(launch, flags, message, tmp_path) -> None:
    done = launch("train_agent", *flags, f"--output={tmp_path / 'run'}")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr


def test_a_small_training_of_a_game(launch, tmp_path) -> None:
    """The whole path on Pong: two updates, curve, film, score in ALE, then more."""
    folder = tmp_path / "run"
    flags = ["--game=pong", "--frames=256", f"--output={folder}", "--max_frames=40"]
    flags += ["--set=num_envs=4,steps=8,minibatch=16,bank=2,bfloat16=false"]
    flags += ["--evaluation_games=2", "--film_steps=2"]
    done = launch("train_agent", *flags)
    assert done.returncode == 0, done.stderr
    lines = (folder / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["frames"] for row in rows] == [128, 256]
    result = json.loads((folder / "result.json").read_text())
    assert result["protocol"] == "noop"
    assert -2 <= result["evaluation_score"] <= 2
    assert {"curve.png", "film.gif"} <= {path.name for path in folder.iterdir()}
    again = launch("train_agent", *flags)
    assert again.returncode == 1
    assert "holds an earlier run; give --resume" in again.stderr
