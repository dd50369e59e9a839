r"""Runs a C program on encrypted data: compiles, encrypts, evaluates, decrypts, checks.

Example:

    python -m launch.encrypt --program=examples/add.c --input='{"a": 20, "b": 22}'
    python -m launch.encrypt --program=examples/sobel_small.c --input=photo.png \
        --output=results/edges.png

Inputs are JSON, given here or in a .json file; arrays may come from a .npz file, and a
single two-dimensional parameter from a picture, which is cropped and scaled to fit. An
output ending in .png, .npz or .json is written so. Without --input, inputs are random.

Keys are made anew, or read from --keys and written there if there are none. Expected:
the sum of two int32 in 10 s on 2 CPU cores, compiling included; the report says what a
program will take. A killed run goes on with --resume, given the same --keys.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from PIL import Image, ImageOps

import fhe
from fhe import params, polynomial, store
from fhe.circuit import random_inputs
from launch import circuits, common

_INPUT = flags.DEFINE_string("input", None, "JSON, or a .json, .npz or picture file")
_OUTPUT = flags.DEFINE_string("output", None, "file for the results: .json, .npz, .png")
_PARAMS = flags.DEFINE_enum("params", None, sorted(params.NAMED), "parameter set")
_INSECURE = flags.DEFINE_bool("allow_insecure", False, "accept a set below 128 bits")
_KEYS = flags.DEFINE_string("keys", None, "folder of client.key and server.key")
_METHOD = flags.DEFINE_enum(
    "method", None, sorted(polynomial.METHODS), "polynomial product"
)
_DEVICES = flags.DEFINE_integer("devices", 1, "split levels over so many devices")
_RESUME = flags.DEFINE_bool("resume", False, "go on with an interrupted evaluation")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "stop after the report")
_SEED = flags.DEFINE_integer("seed", 0, "of random inputs")


def picture(path: str, port: fhe.Port) -> np.ndarray:
    """A picture as a grey image of a parameter's shape."""
    if len(port.shape) != 2:
        raise ValueError(f"{port.describe()} is no picture: it needs two dimensions")
    with Image.open(path) as image:
        grey = ImageOps.fit(image.convert("L"), port.shape[::-1])
    return np.asarray(grey).astype(port.dtype)


def read_inputs(text: str | None, circuit: fhe.Circuit) -> dict[str, Any]:
    """Values of the parameters from --input."""
    ports = circuit.signature.parameters
    if text is None:
        return random_inputs(circuit, np.random.default_rng(_SEED.value))
    kind = Path(text).suffix.lower()
    if kind == ".npz":
        with np.load(text) as saved:
            return dict(saved)
    if kind in (".png", ".jpg", ".jpeg", ".bmp"):
        if len(ports) != 1:
            raise ValueError(
                f"a picture is one parameter; the program has {len(ports)}"
            )
        return {ports[0].name: picture(text, ports[0])}
    return json.loads(Path(text).read_text() if kind == ".json" else text)


def write_outputs(path: str, results: dict[str, Any]) -> None:
    """Writes the results by the file's ending."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    kind = Path(path).suffix.lower()
    if kind == ".npz":
        np.savez(path, allow_pickle=False, **results)
    elif kind == ".png":
        image = next(iter(results.values()))
        Image.fromarray(np.asarray(image).astype(np.uint8)).save(path)
    else:
        common.write_atomically(path, to_json(results) + "\n")


def to_json(results: dict[str, Any]) -> str:
    """Results as JSON; arrays as lists."""
    return json.dumps({k: np.asarray(v).tolist() for k, v in results.items()})


def make_keys(chosen: fhe.Params) -> tuple[fhe.ClientKey, fhe.ServerKey]:
    """Keys from --keys, or new ones."""
    if not _KEYS.value:
        return fhe.keygen(chosen, allow_insecure=_INSECURE.value)
    folder = Path(_KEYS.value)
    files = folder / "client.key", folder / "server.key"
    if not files[0].exists():
        client, server = fhe.keygen(chosen, allow_insecure=_INSECURE.value)
        folder.mkdir(parents=True, exist_ok=True)
        store.save_client_key(files[0], client)
        store.save_server_key(files[1], server)
        return client, server
    client, server = store.load_client_key(files[0]), store.load_server_key(files[1])
    if client.name != server.name:
        raise ValueError(f"{files[0]} and {files[1]} are keys of different pairs")
    if client.params != chosen:
        raise ValueError(
            f"{folder} holds keys of {client.params.name}, not {chosen.name}: pass "
            f"--params={client.params.name}, or another folder"
        )
    return client, server


def run() -> None:
    """All of it, by the flags."""
    common.setup()
    start = time.perf_counter()
    circuit = circuits.load()
    compiled = time.perf_counter() - start
    machine = common.machine()
    chosen = circuits.choose_params(circuit, _PARAMS.value)
    fhe.check_gates(circuit, chosen)
    inputs = read_inputs(_INPUT.value, circuit)
    expected = circuit.simulate(inputs)
    client, server = make_keys(chosen)
    rates = fhe.measure_rates(server, method=_METHOD.value)
    costs = fhe.report(circuit, chosen, rates)
    common.console.print(
        circuits.table(circuit, compiled, costs, chosen, machine["device"])
    )
    if _REPORT_ONLY.value:
        return
    start = time.perf_counter()
    ciphertexts, checkpoint = client.encrypt(circuit, inputs), None
    if _KEYS.value:
        folder = Path(_KEYS.value)
        checkpoint, kept = folder / "evaluation.checkpoint", folder / "inputs.bits"
        if _RESUME.value and kept.exists():
            ciphertexts = store.load_ciphertexts(kept, server)
        else:
            checkpoint.unlink(missing_ok=True)
            store.save_ciphertexts(kept, client, ciphertexts)
    elif _RESUME.value:
        raise ValueError("--resume needs the --keys of the interrupted run")
    encrypted = time.perf_counter() - start
    start = time.perf_counter()
    devices = jax.devices()[: _DEVICES.value] if _DEVICES.value > 1 else None
    with common.progress(Path(circuits.program()).name, len(circuit.offset)) as advance:
        done = 0

        def moved(gates: int, total: int) -> None:
            nonlocal done
            advance("gates", gates - done)
            done = gates

        outputs = fhe.evaluate(
            circuit,
            server,
            ciphertexts,
            method=_METHOD.value,
            devices=devices,
            progress=moved,
            checkpoint=checkpoint,
            checkpoint_seconds=30.0,
        )
        jax.block_until_ready(outputs)
    seconds = time.perf_counter() - start
    results = client.decrypt(circuit, outputs)
    right = all(np.array_equal(results[k], expected[k]) for k in expected)
    shown = to_json(results)
    common.console.print(shown if len(shown) < 2000 else shown[:2000] + " ...")
    if _OUTPUT.value:
        write_outputs(_OUTPUT.value, results)
        common.console.print(f"the results are in {_OUTPUT.value}")
    line = machine | {
        "program": circuits.program(),
        "params": chosen.name,
        "bootstraps": costs.bootstraps,
        "levels": costs.levels,
        "compile_seconds": compiled,
        "encrypt_seconds": encrypted,
        "evaluate_seconds": seconds,
        "estimated_seconds": costs.seconds,
        "latency_bound": costs.latency_bound,
        "gates_per_second": costs.bootstraps / seconds,
        "right": right,
    }
    print(json.dumps(line))
    if not right:
        raise SystemExit("the decrypted results differ from the program's in the clear")


def main(argv: Sequence[str]) -> None:
    """Entry point."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}")
    try:
        run()
    except (ValueError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    app.run(main)
