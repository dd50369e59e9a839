"""Two processes, as on two hosts, compute what one does.

This file is also the program that each process runs, with two fake devices of its own.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import catch
import flax.linen as nn
import jax
import nearest
import numpy as np
import pytest
import tiny_problem

import fhe
from atari.agents import pqn
from fhe import keys, params
from fidelity import ensemble, fit, parallel
from fidelity.models.layers import Dense, Output
from launch import common, loads_atari, scaling

ROOT = Path(__file__).parents[2]
SUM = "unsigned char f(unsigned char a, unsigned char b) { return a + b; }"


def emulate(devices, folder):
    """Observations of games, `[T, B]`; the games are toys, the machinery is not."""
    del folder
    env = catch.make()
    bank = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 3))
    call = loads_atari.emulate(env, bank, devices, 8, 5)
    call()
    return np.concatenate(call(), axis=1)


def evaluate(devices, folder):
    """An encrypted sum, bit for bit."""
    del folder
    circuit = fhe.compile(SUM)
    client, server = keys.keygen(params.TOY, allow_insecure=True, insecure_test_seed=1)
    inputs = circuit.pack([200, 55])
    return fhe.evaluate(
        circuit,
        server,
        keys.encrypt_bits(client, inputs, insecure_test_seed=2),
        method="int8",
        min_batch=2,
        max_batch=8,
        devices=devices,
    )


def memorize(devices, folder):
    """Votes of models, with files that the first process writes."""
    found = ensemble.train_ensemble(
        jax.random.key(0),
        nearest.learner(),
        np.arange(8),
        np.arange(4),
        10,
        chunk=4,
        devices=len(devices),
        directory=folder / f"{len(devices)}",
    )
    return np.concatenate(found[:3], axis=1)


class Plain(nn.Module):
    """A network without batch normalisation."""

    @nn.compact
    def __call__(self, x, train=False):
        h = nn.relu(Dense(8)(x.reshape(len(x), -1)))
        return Output(Dense(4)(h), (h,))


def retrain(devices, folder):
    """Weights after two epochs; on one device, by the plain trainer."""
    del folder
    data = tiny_problem.dataset(96)
    one = len(devices) == 1
    axis = None if one else parallel.AXIS
    trainer = tiny_problem.trainer(data, module=Plain(), axis_name=axis)
    if not one:
        trainer = parallel.over(trainer, devices, 32)
    state, _ = fit.fit(trainer, trainer.init(jax.random.key(0)), data, 2)
    weights = jax.tree.leaves(trainer.compressed(state)["params"])
    return np.concatenate([np.ravel(w) for w in weights])


def learn(devices, folder):
    """Parameters of an agent after an update; on one device, by `vmap`."""
    del folder
    config = pqn.Config(
        num_envs=2, steps=4, minibatch=4, network="mlp", bfloat16=False, bank=3
    )
    agent = pqn.make(config, catch.make(), "devices")
    seeds = jax.random.split(jax.random.key(0), 4)
    if len(devices) == 1:
        start, update = (
            jax.jit(jax.vmap(f, axis_name="devices"))
            for f in (agent.init, agent.update)
        )
    else:
        seeds = seeds[scaling.places(devices)]
        start, update = (
            jax.pmap(f, "devices", devices=devices) for f in (agent.init, agent.update)
        )
    state, _ = update(start(seeds))
    return np.concatenate([np.ravel(x[0]) for x in jax.tree.leaves(state.params)])


EXACT = {"emulate": emulate, "evaluate": evaluate, "memorize": memorize}
CLOSE = {"retrain": retrain, "learn": learn}


def free_address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return f"localhost:{probe.getsockname()[1]}"


def run_everywhere(command, count=2):
    """Starts processes that find one another; gives what each printed."""
    address, places = free_address(), ("fidelity", "atari")
    paths = [ROOT, *(ROOT / "tests" / place for place in places)]
    # Small programs, compiled by every process: compiling is what takes the time.
    quick = f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=0"
    environment = os.environ | {
        "PYTHONPATH": ":".join(map(str, paths)),
        "XLA_FLAGS": quick,
    }
    running = [
        subprocess.Popen(
            [
                *command,
                f"--coordinator={address}",
                f"--num_processes={count}",
                f"--process_id={i}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for i in range(count)
    ]
    try:
        done = [process.communicate(timeout=200) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, errors) in zip(running, done, strict=True):
        assert process.returncode == 0, errors
    return [output for output, _ in done]


@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_two_hosts_find_what_one_device_finds(name, tmp_path):
    run_everywhere([sys.executable, __file__, name, str(tmp_path)])
    parts = [np.load(tmp_path / f"{i}.npy") for i in range(2)]
    want = (EXACT | CLOSE)[name](tuple(jax.devices()[:1]), tmp_path)
    if name == "memorize":
        assert len(list((tmp_path / "4").glob("*.npz"))) == 3
    if name == "emulate":
        # Each process sees its own games.
        parts = [np.concatenate(parts, axis=1)]
    for part in parts:
        if name in EXACT:
            np.testing.assert_array_equal(part, want)
        else:
            np.testing.assert_allclose(part, want, rtol=1e-4, atol=1e-5)


def test_scaling_is_measured_over_hosts(tmp_path):
    (tmp_path / "sum.c").write_text(SUM)
    first, second = run_everywhere(
        [
            *(sys.executable, "-m", "launch.bench_scaling", "--system=fhe"),
            *("--devices=2,3,4", "--loads=wide", "--params=toy", "--repeats=1"),
            *(f"--wide={tmp_path / 'sum.c'}", f"--output={tmp_path}"),
            *("--min_batch=8", "--max_batch=8", "--estimate="),
        ]
    )
    assert "3 devices are left out: not whole hosts of 2" in first
    assert (tmp_path / "fhe.png").stat().st_size > 10_000
    rows = [json.loads(x) for x in (tmp_path / "fhe.jsonl").read_text().splitlines()]
    found = [(row["scaling"], row["devices"], row["hosts"]) for row in rows]
    want = [(kind, n, n // 2) for kind in ("strong", "weak") for n in (2, 4)]
    assert found == want
    assert all(row["rate"] > 0 and row["communication"] > 0 for row in rows)
    # The library that carries arrays between CPUs prints into the same stream.
    assert all(json.dumps(row) in first for row in rows)
    assert "{" not in second


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    flags = dict(text.removeprefix("--").split("=") for text in sys.argv[3:])
    common.connect(
        flags["coordinator"], int(flags["num_processes"]), int(flags["process_id"])
    )
    devices = tuple(jax.devices())
    assert len(devices) == 4
    assert len(jax.local_devices()) == 2
    found = (EXACT | CLOSE)[name](devices, folder)
    np.save(folder / f"{jax.process_index()}.npy", np.asarray(found))


if __name__ == "__main__":
    main()
