"""Encrypted programs from the command line."""

import json

import numpy as np
import pytest
from PIL import Image

PROGRAM = "unsigned char f(unsigned char a, unsigned char b) { return a > b ? a : b; }"
PIXELS = """
void f(const unsigned char image[2][3], unsigned char out[2][3]) {
  for (int y = 0; y < 2; y++)
    for (int x = 0; x < 3; x++) out[y][x] = image[y][x] < 128 ? 0 : 255;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encrypt")
    (path / "max.c").write_text(PROGRAM)
    (path / "threshold.c").write_text(PIXELS)
    return path


def test_values_on_the_command_line(launch, folder):
    done = launch(
        "encrypt",
        f"--program={folder / 'max.c'}",
        '--input={"a": 17, "b": 203}',
        f"--keys={folder / 'keys'}",
        f"--output={folder / 'max.json'}",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "max.json").read_text()) == {"return": 203}
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["right"]
    assert line["bootstraps"] > 0
    for text in ("security", "failure probability", "levels", "estimate on"):
        assert text in done.stdout
    assert (folder / "keys" / "client.key").stat().st_mode & 0o077 == 0


def test_picture_in_picture_out(launch, folder):
    pixels = np.array([[0, 127, 128], [255, 3, 200]], np.uint8)
    Image.fromarray(pixels).save(folder / "in.png")
    done = launch(
        "encrypt",
        f"--program={folder / 'threshold.c'}",
        f"--input={folder / 'in.png'}",
        f"--output={folder / 'out.png'}",
    )
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), 255 * (pixels >= 128))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (('--input={"a": 1}',), "missing values ['b']"),
        (('--input={"a": 1, "b": 256}',), "holds 0 to 255"),
        (("--input=absent.json",), "absent.json"),
        (("--resume", '--input={"a": 1, "b": 2}'), "--keys"),
        (("--params=TFHE-lib", '--input={"a": 1, "b": 2}'), "allow_insecure"),
    ],
)
def test_bad_input_is_one_clear_line(launch, folder, flags, message):
    done = launch("encrypt", f"--program={folder / 'max.c'}", *flags)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in done.stderr


def test_unsupported_construct_names_the_place(launch, folder):
    (folder / "bad.c").write_text("int f(int a) {\n  double x = a;\n  return x;\n}\n")
    for name in ("encrypt", "compile"):
        done = launch(name, f"--program={folder / 'bad.c'}")
        assert done.returncode == 1
        assert "bad.c:2:" in done.stderr


@pytest.mark.parametrize("name", ["encrypt", "compile", "bench_fhe"])
def test_help_has_an_example_and_what_to_expect(launch, name):
    text = launch(name, "--help").stdout
    assert f"python -m launch.{name}" in text
    assert "Expected:" in text
