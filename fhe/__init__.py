"""Write a C program, run it on encrypted data.

    circuit = fhe.compile("int add(int a, int b) { return a + b; }")
    client, server = fhe.keygen()
    inputs = client.encrypt(circuit, {"a": 2, "b": 3})  # at home
    outputs = fhe.evaluate(circuit, server, inputs)  # anywhere
    client.decrypt(circuit, outputs)  # {'return': 5}

C text becomes a list of gates (`fhe.compiler`), each of which one bootstrap evaluates
(`fhe.bootstrap`), a level of gates at a time (`fhe.evaluate`).

References:
    Gouert et al. 2023, "ArctyrEX: Accelerated Encrypted Execution of General-Purpose
    Applications", arXiv:2306.11006.
    Chillotti et al. 2020, "TFHE: Fast Fully Homomorphic Encryption over the Torus",
    Journal of Cryptology 33.
"""

from fhe import batch, cost, formats, gates, noise, params, polynomial, security, store
from fhe.circuit import Circuit, Port, Signature
from fhe.compiler import CompileError, compile
from fhe.copies import side_by_side
from fhe.cost import Rates, Report, check_gates, measure_rates, report
from fhe.evaluate import evaluate
from fhe.keys import ClientKey, ServerKey, decrypt_bits, encrypt_bits, keygen
from fhe.params import R64, R64_U3, R64X, R128, Params

__all__ = [
    "R64",
    "R64X",
    "R64_U3",
    "R128",
    "Circuit",
    "ClientKey",
    "CompileError",
    "Params",
    "Port",
    "Rates",
    "Report",
    "ServerKey",
    "Signature",
    "batch",
    "check_gates",
    "compile",
    "cost",
    "decrypt_bits",
    "encrypt_bits",
    "evaluate",
    "formats",
    "gates",
    "keygen",
    "measure_rates",
    "noise",
    "params",
    "polynomial",
    "report",
    "security",
    "side_by_side",
    "store",
]
