r"""Measures how speed grows with devices, of one host or several.

Each load runs on the first 1, 2, ... devices. Strong scaling keeps the work, weak
scaling the work a device. Communication is the time of the exchanges alone, as a share
of the load's. Loads: atari: emulation (which exchanges nothing), and an agent's
training with averaged gradients; fhe: a wide program and a narrow one, and an estimate
for more devices; fidelity: re-training with averaged gradients, and a memorization
ensemble, whose models are split. Examples:

    python -m launch.bench_scaling --system=atari --devices=1,2,4,8
    XLA_FLAGS=--xla_force_host_platform_device_count=2 python -m launch.bench_scaling \
        --system=fhe --devices=1,2 --params=toy --wide=examples/add.c --min_batch=8

On several hosts run the same command on each, with its own --process_id:

    python -m launch.bench_scaling --system=fidelity --devices=8,16 \
        --coordinator=HOST:PORT --num_processes=2 --process_id=0

Expected: on GPUs some minutes a system, mostly compiling; fake devices of one CPU share
its cores, and so gain nothing. Prints a table, one JSON line a row, and leaves both and
a picture under --output.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from absl import app, flags

from launch import common, scaling
from launch.scaling import Load, Row

_SYSTEM = flags.DEFINE_enum(
    "system", None, ["atari", "fhe", "fidelity"], "what is measured", required=True
)
_DEVICES = flags.DEFINE_list("devices", ["1", "2", "4", "8"], "numbers of devices")
_LOADS = flags.DEFINE_list("loads", None, "of the system's; all if not given")
_SCALING = flags.DEFINE_list("scaling", ["strong", "weak"], "kinds")
_REPEATS = flags.DEFINE_integer("repeats", 5, "timed calls", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "results/scaling", "folder")
_STEPS = flags.DEFINE_integer("steps", 8, "of atari or re-training in a timed call")
_GAME = flags.DEFINE_string("game", "breakout", "atari: name")
_NUM_ENVS = flags.DEFINE_integer("num_envs", 16_384, "atari: consoles to emulate")
_BANK = flags.DEFINE_integer("bank", 64, "atari: reset games to start from")
_AGENT = flags.DEFINE_enum("agent", "ppo", ["ppo", "pqn"], "atari: who learns")
_AGENT_ENVS = flags.DEFINE_integer("agent_envs", 4096, "atari: environments to learn")
_SET = flags.DEFINE_list("set", [], "atari: settings of the agent, name=value")
_WIDE = flags.DEFINE_string("wide", "examples/matmul8.c", "fhe: a wide program")
_NARROW = flags.DEFINE_string("narrow", "examples/aes128.c", "fhe: a narrow program")
_PARAMS = flags.DEFINE_string("params", "R64", "fhe: parameter set")
_METHOD = flags.DEFINE_string("method", None, "fhe: polynomial product")
_MIN_BATCH = flags.DEFINE_integer("min_batch", 256, "fhe: gates a device, at least")
_MAX_BATCH = flags.DEFINE_integer("max_batch", 4096, "fhe: gates a device, at most")
_ESTIMATE = flags.DEFINE_list("estimate", ["1", "2", "4", "8"], "fhe: devices")
_NETWORK = flags.DEFINE_string("network", "resnet18", "fidelity: to re-train")
_BATCH = flags.DEFINE_integer("batch_size", 512, "fidelity: examples a step")
_ENSEMBLE = flags.DEFINE_string("ensemble_network", "mlp", "fidelity: of the ensemble")
_MODELS = flags.DEFINE_integer("models", 128, "fidelity: of the ensemble, at once")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "fidelity: of the ensemble's models")
_EXAMPLES = flags.DEFINE_integer("examples", 60_000, "fidelity: of the ensemble")
_BFLOAT16 = flags.DEFINE_bool("bfloat16", True, "fidelity: compute in bfloat16")


def atari_loads() -> dict[str, Callable[[], Load]]:
    """Loads by name, made when they are measured."""
    from launch import loads_atari as loads

    return {
        "emulation": lambda: loads.emulation(
            _GAME.value, _NUM_ENVS.value, _STEPS.value, _BANK.value
        ),
        "training": lambda: loads.training(
            _AGENT.value,
            _GAME.value,
            _AGENT_ENVS.value,
            [f"bank={_BANK.value}", *_SET.value],
        ),
    }


def fhe_loads() -> dict[str, Callable[[], Load]]:
    """As `atari_loads`."""
    from launch import loads_fhe as loads

    def of(path: str, kind: str) -> Callable[[], Load]:
        batches = _MIN_BATCH.value, _MAX_BATCH.value
        return lambda: loads.program(path, kind, _PARAMS.value, _METHOD.value, batches)

    return {"wide": of(_WIDE.value, "wide"), "narrow": of(_NARROW.value, "narrow")}


def fidelity_loads() -> dict[str, Callable[[], Load]]:
    """As `atari_loads`."""
    from fidelity.train import Config
    from launch import loads_fidelity as loads

    config = Config(_EPOCHS.value, 512, pad=0, flip=False)
    return {
        "retraining": lambda: loads.retraining(
            _NETWORK.value, _BATCH.value, _STEPS.value, bfloat16=_BFLOAT16.value
        ),
        "ensemble": lambda: loads.memorization(
            _ENSEMBLE.value,
            _MODELS.value,
            config,
            examples=_EXAMPLES.value,
            tests=max(1, _EXAMPLES.value // 6),
            bfloat16=_BFLOAT16.value,
        ),
    }


SYSTEMS = {"atari": atari_loads, "fhe": fhe_loads, "fidelity": fidelity_loads}


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    common.setup(hosts=True)
    try:
        run()
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        raise SystemExit(f"error: {error}") from error


def run() -> None:
    """Measures, and reports."""
    counts, refused = scaling.usable(_DEVICES.value)
    for line in refused:
        common.console.print(line)
    if not counts:
        raise ValueError(f"nothing to measure with {jax.device_count()} devices")
    if unknown := set(_SCALING.value) - {"strong", "weak"}:
        raise ValueError(f"--scaling is strong, weak or both, not {sorted(unknown)}")
    known = SYSTEMS[_SYSTEM.value]()
    names = _LOADS.value or list(known)
    if unknown := set(names) - set(known):
        raise ValueError(f"{_SYSTEM.value} has loads {list(known)}, not {unknown}")
    machine = common.machine() | {"system": _SYSTEM.value}
    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    lines = output / f"{_SYSTEM.value}.jsonl"

    def report(row: Row) -> None:
        if common.is_first():
            print(json.dumps(machine | row), flush=True)
            common.append_json(lines, machine | row)

    rows = []
    for name in names:
        load = known[name]()
        rows += scaling.measure(
            load, counts, _SCALING.value, _REPEATS.value, on_row=report
        )
    if common.is_first():
        title = f"{_SYSTEM.value} on {machine['device']}, JAX {machine['jax']}"
        common.console.print(scaling.table(rows, title))
        path = scaling.plot(output / f"{_SYSTEM.value}.png", rows, title)
        common.console.print(f"picture in {path}")
    if _SYSTEM.value == "fhe" and _ESTIMATE.value:
        estimate(counts[-1], report)


def estimate(present: int, report: Callable[[Row], None]) -> None:
    """Prints what the programs should cost on more devices."""
    from fhe import cost, params
    from launch import loads_fhe as loads

    link, devices = cost.Link(), tuple(jax.devices()[:present])
    if present > 1 and scaling.places(devices).size:
        link = loads.measure_link(params.named(_PARAMS.value), devices, _REPEATS.value)
    if not common.is_first():
        return
    if present == 1:
        common.console.print("one device: the exchange is assumed, not measured")
    counts = tuple(map(int, _ESTIMATE.value))
    rows, table = loads.model(
        {"wide": _WIDE.value, "narrow": _NARROW.value},
        _PARAMS.value,
        _METHOD.value,
        counts,
        link,
        (_MIN_BATCH.value, _MAX_BATCH.value),
    )
    common.console.print(table)
    for row in rows:
        report(row)


if __name__ == "__main__":
    app.run(main)
