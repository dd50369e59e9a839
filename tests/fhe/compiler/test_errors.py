"""What is outside of the subset is refused, with the place and the reason."""

from pathlib import Path

import pytest

from fhe import compiler
from fhe.compiler import CompileError

CASES = [
    ("int f(float x) {\n return x; }", 1, "float is not supported.*fixed-point"),
    ("int f(int x) {\n return x + 1.5; }", 2, "1.5 is not an integer"),
    ("int f(int x) {\n while (x) x--;\n return x; }", 2, "depends on a secret.*bound"),
    ("int f(int x) {\n int a[x];\n return 0; }", 2, "size depends on a secret"),
    ("int f(int x) {\n goto end;\nend: return x; }", 2, "goto"),
    ("union u { int a; };\nint f(union u x) { return 0; }", 1, "unions"),
    ("struct s { int a : 3; };\nint f(struct s x) { return 0; }", 1, "bit-fields"),
    ("int f(int x) {\n return g(x); }", 2, "g is not defined"),
    ("int f(int x) {\n return y; }", 2, "y is not declared"),
    ("int f(int x) {\n return x / 0; }", 2, "division by zero"),
    ("int f(int x) {\n return x << 32; }", 2, "shift of int by 32"),
    ("int f(int a[4]) {\n return a[4]; }", 2, "index 4 is outside of a"),
    ("int f(int a[4]) {\n return a[-1]; }", 2, "index -1 is outside"),
    ("int f(int *p) {\n p = 0;\n return *p; }", 3, "null pointer"),
    (
        "int f(int c) { int a = 1, b = 2;\n return *(c ? &a : &b); }",
        2,
        "chooses between pointers",
    ),
    ("int f(int x) {\n return x\n}", 3, "}"),
    ("int f(int x) {\n return f(x - 1); }", 1, "deep.*without secrets"),
    ("#define A(x) x\n#error stop here\nint f(int x) { return A(x); }", 2, "stop here"),
    ('#include "nowhere.h"\nint f(int x) { return x; }', 1, "cannot find nowhere.h"),
    (
        "static const int t[2] = {1};\nint f(int x) {\n t[0] = x;\n return 0; }",
        3,
        "constant",
    ),
    ("int f(int x) {\n static int n = 0;\n return n += x; }", 2, "static n"),
    ("int f(int x, ...) { return x; }", 1, "variable arguments"),
    ("void f(int x) { }", 0, "returns nothing"),
    ("static int f(int x) { return x; }", 0, "no function that is not static"),
    ("#pragma fhe public(n)\nint f(int n) { return n; }", 2, "n is public: give"),
    ("#pragma fhe publik(n)\nint f(int n) { return n; }", 1, "unknown pragma"),
    ("int f(int x) {\n#pragma fhe bnd(3)\n return x; }", 2, "unknown pragma"),
    ("int f(int x) {\n int y[2] = {1, 2, 3};\n return y[0]; }", 2, "too many values"),
    ("struct s { int a; };\nint f(struct s x) {\n return x.b; }", 3, "no field b"),
    ("int f(int x) {\n for (;;) x++;\n return x; }", 2, "more than"),
    (
        "int f(int *a) {\n return a[1]; }",
        2,
        "1 elements here; give the parameter a size",
    ),
    (
        "int f(int x) {\n while (1) { if (x++ > 9) break; }\n return x; }",
        2,
        "only a secret ends the loop",
    ),
    (
        "int f(int x) {\n switch (x) { case x: return 1; }\n return 0; }",
        2,
        "case label",
    ),
    ("int f(int x, int y) {\n return (&x == 0) ? 1 : *y; }", 2, "int is not a pointer"),
    (
        'int f(int x) {\n _Static_assert(sizeof(int) == 8, "no");\n return x; }',
        2,
        "assert",
    ),
]


@pytest.mark.parametrize(("source", "line", "reason"), CASES)
def test_refusal(
    source: str, line: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhe.compiler.statements._MOST_ITERATIONS", 1000)
    monkeypatch.setattr("fhe.compiler.statements._MOST_ENDLESS", 50)
    with pytest.raises(CompileError, match=reason) as caught:
        compiler.compile(source)
    assert caught.value.line == line
    if line:
        assert str(caught.value).startswith(f"<source>:{line}:")


def test_column_and_file(tmp_path: Path) -> None:
    path = tmp_path / "program.c"
    path.write_text("int f(int x) {\n  return x + nothing;\n}\n")
    with pytest.raises(CompileError) as caught:
        compiler.compile(path)
    assert (caught.value.file, caught.value.line) == (str(path), 2)
    assert caught.value.column == 14


def test_errors_in_included_files_name_them(tmp_path: Path) -> None:
    (tmp_path / "part.h").write_text("\n\nstatic int g(int x) { return x.y; }\n")
    path = tmp_path / "program.c"
    path.write_text('#include "part.h"\nint f(int x) { return g(x); }\n')
    with pytest.raises(CompileError) as caught:
        compiler.compile(path)
    assert caught.value.file.endswith("part.h")
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("public", "reason"),
    [
        ({"m": 1}, "parameters"),
        ({"n": 300}, "does not fit"),
        ({"n": [1, 2]}, "shape"),
        ({"n": 1.5}, "integers"),
    ],
)
def test_public_values_are_checked(public: dict, reason: str) -> None:
    with pytest.raises(CompileError, match=reason):
        compiler.compile(
            "int f(unsigned char n, int x) { return n + x; }", public=public
        )


def test_missing_function_and_file() -> None:
    with pytest.raises(CompileError, match="defines \\['f'\\]"):
        compiler.compile("int f(int x) { return x; }", "g")
    with pytest.raises(CompileError, match="no such file"):
        compiler.compile("missing.c")


def test_speculative_paths_do_not_refuse() -> None:
    source = """
    int f(int a[4], unsigned char n) {
      int s = 0;
    #pragma fhe bound(8)
      for (int i = 0; i < (n & 3); i++) s += a[i] + (8 >> i) + 12 / (5 - i);
      return s;
    }"""
    got = compiler.compile(source).simulate([[1, 2, 3, 4], 3])
    assert got["return"] == 1 + 8 + 2 + 2 + 4 + 3 + 3 + 2 + 4
