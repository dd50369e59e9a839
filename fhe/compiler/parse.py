"""C text to a syntax tree: preprocessing by pcpp, parsing by pycparser.

The few standard headers that make sense without an operating system are built in.
"""

import copy
import io
import re
from pathlib import Path
from typing import Any

import pcpp
from pycparser import c_ast, c_parser

from fhe.compiler.types import CompileError

_STDINT = "".join(
    f"typedef {'un' if u else ''}signed {kind} {u}int{size}_t;\n"
    for size, kind in ((8, "char"), (16, "short"), (32, "int"), (64, "long"))
    for u in ("", "u")
)
_STDINT += "".join(
    f"typedef {u}int{size if kind == 'least' or size == 8 else 64}_t "
    f"{u}int_{kind}{size}_t;\n"
    for kind in ("least", "fast")
    for size in (8, 16, 32, 64)
    for u in ("", "u")
)
_STDINT += """
typedef long intptr_t; typedef unsigned long uintptr_t;
typedef long intmax_t; typedef unsigned long uintmax_t;
#define INT8_MIN (-128)
#define INT16_MIN (-32768)
#define INT32_MIN (-2147483647 - 1)
#define INT64_MIN (-9223372036854775807L - 1)
#define INT8_MAX 127
#define INT16_MAX 32767
#define INT32_MAX 2147483647
#define INT64_MAX 9223372036854775807L
#define UINT8_MAX 255
#define UINT16_MAX 65535
#define UINT32_MAX 4294967295U
#define UINT64_MAX 18446744073709551615UL
#define SIZE_MAX UINT64_MAX
#define INT8_C(x) x
#define INT16_C(x) x
#define INT32_C(x) x
#define INT64_C(x) x##L
#define UINT8_C(x) x
#define UINT16_C(x) x
#define UINT32_C(x) x##U
#define UINT64_C(x) x##UL
"""
_LIMITS = """
#define CHAR_BIT 8
#define SCHAR_MIN (-128)
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define CHAR_MIN SCHAR_MIN
#define CHAR_MAX SCHAR_MAX
#define SHRT_MIN (-32768)
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MIN (-2147483647 - 1)
#define INT_MAX 2147483647
#define UINT_MAX 4294967295U
#define LONG_MIN (-9223372036854775807L - 1)
#define LONG_MAX 9223372036854775807L
#define ULONG_MAX 18446744073709551615UL
#define LLONG_MIN (-9223372036854775807LL - 1)
#define LLONG_MAX 9223372036854775807LL
#define ULLONG_MAX 18446744073709551615ULL
"""
_HEADERS = {
    "stdint.h": _STDINT,
    "inttypes.h": '#include "stdint.h"\n',
    "limits.h": _LIMITS,
    "stdbool.h": "#define bool _Bool\n#define true 1\n#define false 0\n",
    "stddef.h": (
        "typedef unsigned long size_t; typedef long ptrdiff_t;\n"
        "#define NULL ((void *)0)\n"
    ),
    "stdlib.h": (
        '#include "stddef.h"\n'
        "static int abs(int x) { return x < 0 ? -x : x; }\n"
        "static long labs(long x) { return x < 0 ? -x : x; }\n"
    ),
    "stdio.h": "",
    "string.h": '#include "stddef.h"\n',
    "assert.h": "#define assert(condition) ((void)0)\n",
}
_BUILTINS = """
#define __FHE__ 1
#define __STDC_VERSION__ 199901L
#define __CHAR_BIT__ 8
#define __LP64__ 1
#define __extension__
#define __inline inline
#define __inline__ inline
#define __restrict restrict
#define __attribute__(x)
"""


class _Preprocessor(pcpp.Preprocessor):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__()
        self.name = name
        self.line_directive = "#line"
        self.add_path(str(folder))
        self.here = ("<source>", 0)

    def spell(self, path: str) -> str:
        """A file's name as the user wrote it; pcpp makes paths relative."""
        if Path(path).resolve() == Path(self.name).resolve():
            return self.name
        return path.removeprefix("./")

    def on_error(self, file: str, line: int, msg: str) -> None:
        raise CompileError(msg.strip(), self.spell(file or self.name), line or 0)

    def on_directive_handle(
        self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any
    ) -> bool | None:
        self.here = self.spell(directive.source or "<source>"), directive.lineno
        return super().on_directive_handle(directive, toks, ifpassthru, precedingtoks)

    def on_directive_unknown(
        self, directive: Any, toks: Any, ifpassthru: bool, precedingtoks: Any
    ) -> bool | None:
        if directive.value == "pragma" and toks and toks[0].value == "fhe":
            for token in toks[1:]:
                if token.value in self.macros:
                    expanded = self.expand_macros([copy.copy(token)])
                    token.value = "".join(t.value for t in expanded)
            return None  # kept for the parser
        if directive.value == "error":
            raise CompileError("".join(t.value for t in toks), *self.here)
        return super().on_directive_unknown(directive, toks, ifpassthru, precedingtoks)

    def on_include_not_found(
        self, is_malformed: bool, is_system_include: bool, curdir: str, includepath: str
    ) -> None:
        raise CompileError(
            f"cannot find {includepath}; headers at hand: {', '.join(_HEADERS)}",
            *self.here,
        )

    def on_file_open(self, is_system_include: bool, includepath: str) -> io.TextIOBase:
        name = includepath.replace("\\", "/").rsplit("/", 1)[-1]
        if name in _HEADERS and not Path(includepath).exists():
            stem = re.sub(r"\W", "_", name).upper()
            text = f"#ifndef FHE_{stem}\n#define FHE_{stem}\n{_HEADERS[name]}\n#endif\n"
            return io.StringIO(text)
        return super().on_file_open(is_system_include, includepath)


def read_source(source: str | Path) -> tuple[str, str, Path]:
    """(text, name for messages, folder of includes) of C text or a path to it."""
    if isinstance(source, Path) or ("\n" not in source and source.endswith(".c")):
        path = Path(source)
        if not path.is_file():
            raise CompileError("no such file", str(path))
        return path.read_text(), str(path), path.parent
    return source, "<source>", Path()


def parse(source: str | Path) -> c_ast.FileAST:
    """The syntax tree of C text, or of a file if `source` is a path ending in `.c`.

    Raises:
        CompileError: with file, line and column of the first error.
    """
    text, name, folder = read_source(source)
    preprocessor = _Preprocessor(folder, name)
    preprocessor.parse(_BUILTINS, "<builtin>")
    preprocessor.write(io.StringIO())
    preprocessor.parse(text, name)
    expanded = io.StringIO()
    preprocessor.write(expanded)
    text = re.sub(
        r'^(#line \d+ )"(.*)"',
        lambda found: f'{found.group(1)}"{preprocessor.spell(found.group(2))}"',
        expanded.getvalue(),
        flags=re.MULTILINE,
    )
    return parse_text(text, name)


def parse_text(text: str, name: str) -> c_ast.FileAST:
    """The syntax tree of C text that needs no preprocessing."""
    try:
        return c_parser.CParser().parse(text, name)
    except c_parser.ParseError as error:
        found = re.match(r"(.*?):(\d+)(?::(\d+))?: ?(.*)", str(error), re.DOTALL)
        if found is None:
            raise CompileError(str(error), name) from error
        file, line, column, reason = found.groups()
        raise CompileError(
            reason or "syntax error", file, int(line), int(column or 0)
        ) from error
