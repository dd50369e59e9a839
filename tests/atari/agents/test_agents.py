"""Every agent learns a toy game in seconds, alone and on two devices."""

import dataclasses
import functools

import catch
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from atari.agents import a2c_vtrace, agent as agents, dqn, evaluate, ppo, pqn

SMALL = {"network": "mlp", "bfloat16": False, "bank": 8, "stagger": 8, "num_envs": 64}
SETTINGS = {
    "ppo": (ppo, 48, {"steps": 16, "minibatch": 256, "learning_rate": 3e-3}),
    "pqn": (pqn, 48, {"steps": 16, "minibatch": 256, "learning_rate": 3e-3}),
    "a2c": (
        a2c_vtrace,
        600,
        {"groups": 4, "turns": 1, "horizon": 8, "learning_rate": 5e-3},
    ),
    "dqn": (
        dqn,
        480,
        {
            "capacity": 100,
            "learn_start": 20,
            "batches": 2,
            "minibatch": 64,
            "learning_rate": 2e-3,
            "target_period": 20,
        },
    ),
}
SETTINGS["prioritised"] = (
    dqn,
    480,
    SETTINGS["dqn"][2] | {"prioritised": True, "dueling": True, "double": False},
)


def made(name, axis_name=None, **changes):
    """An agent, and the updates of a run."""
    module, updates, settings = SETTINGS[name]
    config = module.Config(updates=updates, **(SMALL | settings | changes))
    env = catch.make(stack=2 if module is dqn else 1)
    return module.make(config, env, axis_name), updates


@functools.cache
def trained(name):
    agent, updates = made(name)
    return jax.jit(agents.train(agent, updates))(jax.random.key(0))


@pytest.mark.parametrize("name", SETTINGS)
def test_it_learns(name) -> None:
    """From random play, -0.4 points a game, to nearly all of 6, as its loss falls."""
    _, metrics = trained(name)
    sums = jax.tree.map(lambda x: np.asarray(x).reshape(6, -1).sum(1), metrics.tally)
    score = sums.score / sums.games
    assert score[-1] > 5.2
    assert score[-1] > score[0] + 1.5
    part = "value" if "value" in metrics.losses else "loss"
    loss = np.asarray(metrics.losses[part])
    learning = loss[loss > 0]
    assert (
        learning[-len(learning) // 6 :].mean()
        < 0.4 * learning[: len(learning) // 6].mean()
    )
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(metrics))


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_what_was_learned_plays(name) -> None:
    """The best actions of the trained network, in games of their own."""
    agent, _ = made(name)
    state, _ = trained(name)
    env = catch.make(stack=2 if name == "dqn" else 1)
    found = evaluate.on_device(env, agent.act, state.params, 50, greedy=True, seed=4)
    assert found.score.mean() > 5.5


@pytest.mark.parametrize("name", ["pqn", "a2c", "prioritised"])
def test_updates_one_by_one_are_the_scanned_run(name) -> None:
    """Also that the pieces `collect` and `learn` make up an update."""
    agent, _ = made(name)
    key = jax.random.key(3)
    scanned, metrics = jax.jit(agents.train(agent, 3))(key)
    collect, learn = jax.jit(agent.collect), jax.jit(agent.learn)
    state = jax.jit(agent.init)(key)
    for i in range(3):
        state, tally, batch = collect(state)
        state, _ = learn(state, batch)
        state = state._replace(updates=state.updates + 1)
        assert float(tally.points) == float(metrics.tally.points[i])
    np.testing.assert_array_equal(state.updates, scanned.updates)
    np.testing.assert_array_equal(state.actors.observation, scanned.actors.observation)
    for one, other in zip(
        jax.tree.leaves(state.params), jax.tree.leaves(scanned.params), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SETTINGS)
def test_two_devices_share_a_network(name) -> None:
    """Their games differ, their parameters stay equal; sums are of both."""
    updates = 24 if name in ("dqn", "prioritised") else 3
    agent, _ = made(name, "devices")
    keys = jax.random.split(jax.random.key(0), 2)
    start = jax.pmap(agent.init, axis_name="devices")
    update = jax.pmap(agent.update, axis_name="devices", donate_argnums=0)
    state = start(keys)
    first = jax.tree.map(np.asarray, state.params)
    for _ in range(updates):
        state, metrics = update(state)
    for before, after in zip(
        jax.tree.leaves(first), jax.tree.leaves(state.params), strict=True
    ):
        np.testing.assert_array_equal(after[0], after[1])
        assert not np.array_equal(before[0], after[0]) or before[0].size < 64
    seen = np.asarray(state.actors.observation)
    assert (seen[0] != seen[1]).any()
    assert (np.asarray(metrics.tally.steps) == 2 * agent.steps).all()


def test_a_mean_gradient_is_that_of_the_whole_batch() -> None:
    """Two halves on two devices, against both on one."""
    import optax

    def objective(params, x):
        loss = ((params * x - 1) ** 2).mean()
        return loss, {"loss": loss}

    optimizer = optax.sgd(0.1)
    params = jnp.float32(0.3)
    x = jnp.arange(8.0)

    def step(axis_name, x):
        return agents.descend(
            objective, optimizer, axis_name, params, optimizer.init(params), x
        )[0]

    whole = step(None, x)
    halves = jax.pmap(functools.partial(step, "devices"), axis_name="devices")(
        x.reshape(2, 4)
    )
    np.testing.assert_allclose(halves, whole, rtol=1e-6)


def test_epochs_see_everything_once_each() -> None:
    batch = {"x": jnp.arange(24).reshape(6, 4), "y": jnp.arange(24).reshape(6, 4)}

    def learn(seen, part):
        np.testing.assert_equal(part["x"].shape, (8,))
        agree = (part["x"] == part["y"]).all()
        return seen.at[part["x"]].add(1), {"agree": agree.astype(jnp.float32)}

    seen, losses = agents.shuffled(
        learn, jax.random.key(0), jnp.zeros(24, int), batch, epochs=3, minibatch=8
    )
    np.testing.assert_array_equal(seen, 3)
    assert losses["agree"] == 1


def test_mere_resets_teach_nothing() -> None:
    """The gradient does not depend on what a step that only resets holds."""
    agent, _ = made("ppo", epochs=1, minibatch=1024, anneal=False)
    state = jax.jit(agent.init)(jax.random.key(0))
    state, _, batch = jax.jit(agent.collect)(state)
    assert not bool(batch.valid.all())
    valid = batch.valid
    spoilt = batch._replace(
        action=jnp.where(valid, batch.action, 2 - batch.action),
        reward=jnp.where(valid, batch.reward, 7.0),
        extra=jax.tree.map(lambda x: jnp.where(valid, x, x - 3), batch.extra),
    )
    # What an end bootstraps from is the value of the final observation, kept here.
    spoilt = spoilt._replace(extra=(spoilt.extra[0], batch.extra[1]))
    learn = jax.jit(agent.learn)
    one, other = learn(state, batch)[0], learn(state, spoilt)[0]
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [
        (ppo, {"minibatch": 100}, "minibatch must divide 131,072, which 100 does not"),
        (pqn, {"num_envs": 3}, "minibatch must divide 12, which 1024 does not"),
        (ppo, {"epochs": 0}, "at least 1"),
        (a2c_vtrace, {"groups": 3}, "groups must divide 4,096, which 3 does not"),
        (a2c_vtrace, {"steps": 3}, "steps must divide 20, which 3 does not"),
        (dqn, {"steps": 3}, "steps must divide 1,000, which 3 does not"),
        (dqn, {"learn_start": 2}, "learn_start must be more than ahead"),
    ],
)
def test_bad_settings_are_refused(module, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        module.Config(**changes)


def test_configurations_are_plain_data() -> None:
    for module in (a2c_vtrace, dqn, ppo, pqn):
        config = module.Config()
        assert module.Config(**dataclasses.asdict(config)) == config
