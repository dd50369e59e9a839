"""Statements of the symbolic machine: secret conditions become joins.

A statement runs on the current state and returns its exits (break, continue, return),
each with the condition under which it is taken, given that no earlier one is, and the
state there. `dead` says that nothing goes on after the statement. Where exits arrive,
their states are joined from the last to the first.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from pycparser import c_ast

from fhe.compiler import types as ct
from fhe.compiler.declare import Node, Typedef
from fhe.compiler.expressions import Expressions
from fhe.compiler.memory import Object, Place, State, merge
from fhe.compiler.parse import parse_text
from fhe.compiler.words import Operand, Words

_MOST_ITERATIONS = 1 << 20
_MOST_ENDLESS = 5000


@dataclasses.dataclass(frozen=True)
class Exit:
    """A jump that some inputs take.

    Attributes:
        kind: `break`, `continue` or `return`.
        condition: when, given that no earlier exit of the same statement is taken.
        state: variables at the jump.
    """

    kind: str
    condition: Operand
    state: State


class Statements(Expressions):
    """Runs statements; `results` holds the result of each function being run."""

    def __init__(self, words: Words, loop_bound: int | None) -> None:
        super().__init__(words, loop_bound)
        self.dead = False
        self.results: list[Object | None] = []
        self._bound: int | None = None

    def run(self, node: Node | None) -> list[Exit]:
        """Runs a statement; returns what jumps out of it."""
        if node is None:
            return []
        method = _RUNNERS.get(type(node).__name__)
        if method is not None:
            return method(self, node)
        self.evaluate(node)
        return []

    def _block(self, items: list[Node]) -> list[Exit]:
        """Statements in order, in a scope of their own."""
        self.scopes.append({})
        self.tags.append({})
        exits: list[Exit] = []
        speculative = self.speculative
        for item in items:
            if self.dead:
                break
            exits += self.run(item)
            self.speculative = speculative or bool(exits)
        self.speculative = speculative
        self.tags.pop()
        for found in self.scopes.pop().values():
            if isinstance(found, Object):
                self.state.cells.pop(found, None)
        return exits

    def _compound(self, node: c_ast.Compound) -> list[Exit]:
        return self._block(node.block_items or [])

    def _empty_statement(self, node: c_ast.EmptyStatement) -> list[Exit]:
        return []

    def _decl(self, node: c_ast.Decl) -> list[Exit]:
        self.declare(node)
        return []

    def _decl_list(self, node: c_ast.DeclList) -> list[Exit]:
        for decl in node.decls:
            self.declare(decl)
        return []

    def _typedef(self, node: c_ast.Typedef) -> list[Exit]:
        self.scopes[-1][node.name] = Typedef(self.resolve(node.type))
        return []

    def _pragma(self, node: c_ast.Pragma) -> list[Exit]:
        found = re.fullmatch(r"\s*fhe\s+bound\s*\((.*)\)\s*", node.string)
        if found is None:
            if re.match(r"\s*fhe\b", node.string):
                self.fail(node, f"unknown pragma {node.string}; write `fhe bound(n)`")
            return []
        tree = parse_text(f"int bound = {found.group(1)};", node.coord.file)
        self._bound = self.concrete(tree.ext[0].init, "a loop's bound")
        return []

    def _static_assert(self, node: Node) -> list[Exit]:
        if not self.concrete(node.cond, "an assertion"):
            self.fail(node, "static assertion failed")
        return []

    def _goto(self, node: c_ast.Goto) -> list[Exit]:
        self.fail(node, "goto is not supported")

    def _label(self, node: c_ast.Label) -> list[Exit]:
        return self.run(node.stmt)

    def _case(self, node: c_ast.Case) -> list[Exit]:
        self.fail(node, "a case label outside of the top level of its switch")

    def _exit(self, kind: str) -> list[Exit]:
        self.dead = True
        return [Exit(kind, 1, self.state)]

    def _break(self, node: c_ast.Break) -> list[Exit]:
        return self._exit("break")

    def _continue(self, node: c_ast.Continue) -> list[Exit]:
        return self._exit("continue")

    def _return(self, node: c_ast.Return) -> list[Exit]:
        result = self.results[-1]
        if node.expr is not None:
            value = self.evaluate(node.expr)
            if result is not None:
                place = Place(result, 0, (), result.type)
                self.put(place, self.convert(value, result.type, node), node)
        elif result is not None:
            self.fail(node, "return without a value")
        return self._exit("return")

    def _if(self, node: c_ast.If) -> list[Exit]:
        condition = self.truth(node.cond)
        if isinstance(condition, int):
            return self.run(node.iftrue if condition else node.iffalse)
        before, speculative = self.state, self.speculative
        self.speculative = True
        self.state = before.fork()
        first = self.run(node.iftrue)
        then, then_dead = self.state, self.dead
        self.state, self.dead = before.fork(), False
        second = self.run(node.iffalse)
        other, other_dead = self.state, self.dead
        self.speculative = speculative
        self.dead = then_dead and other_dead
        if not then_dead and not other_dead:
            self.state = merge(self.words, condition, then, other)
        else:
            self.state = other if then_dead else then
        if not then_dead:
            second = self._under(self.words.negation(condition), second)
        # else: that no exit of the first arm is taken already says so.
        return [*self._under(condition, first), *second]

    def _under(self, condition: Operand, exits: list[Exit]) -> list[Exit]:
        return [
            Exit(e.kind, self.words.and_(condition, e.condition), e.state)
            for e in exits
        ]

    def join(self, kind: str, exits: list[Exit]) -> list[Exit]:
        """Lets exits of a kind arrive here; returns the others.

        Conditions hold given that no earlier exit is taken, so that joining from the
        last to the first needs them as they are; an exit that goes on needs to know
        that the earlier ones that stop here were not taken.
        """
        for found in reversed(exits):
            if found.kind != kind:
                continue
            if self.dead:
                self.state, self.dead = found.state, False
            else:
                self.state = merge(self.words, found.condition, found.state, self.state)
        onward = []
        none_here: Operand = 1
        for found in exits:
            if found.kind == kind:
                missed = self.words.negation(found.condition)
                none_here = self.words.and_(none_here, missed)
            else:
                condition = self.words.and_(found.condition, none_here)
                onward.append(Exit(found.kind, condition, found.state))
        return onward

    # Loops

    def _while(self, node: c_ast.While) -> list[Exit]:
        return self._loop(node, node.cond, node.stmt, None, False)

    def _do_while(self, node: c_ast.DoWhile) -> list[Exit]:
        return self._loop(node, node.cond, node.stmt, None, True)

    def _for(self, node: c_ast.For) -> list[Exit]:
        bound, self._bound = self._bound, None
        self.scopes.append({})
        if node.init is not None:
            self.run(node.init)
        self._bound = bound
        exits = self._loop(node, node.cond, node.stmt, node.next, False)
        for found in self.scopes.pop().values():
            if isinstance(found, Object):
                self.state.cells.pop(found, None)
        return exits

    def _loop(
        self,
        node: Node,
        condition: Node | None,
        body: Node,
        following: Node | None,
        body_first: bool,
    ) -> list[Exit]:
        bound = self.loop_bound if self._bound is None else self._bound
        self._bound = None
        endless = condition is None or isinstance(condition, c_ast.Constant)
        exits: list[Exit] = []
        speculative = self.speculative
        rounds = 0
        while True:
            if not (body_first and rounds == 0):
                going: Operand = 1 if condition is None else self.truth(condition)
                if isinstance(going, int):
                    if not going:
                        break
                else:
                    if bound is None:
                        self.fail(
                            node,
                            "the loop's condition depends on a secret; write "
                            "`#pragma fhe bound(n)` before it or give loop_bound",
                        )
                    if rounds >= bound:
                        break  # by the bound's promise the condition is false here
                    missed = self.words.negation(going)
                    exits.append(Exit("break", missed, self.state.fork()))
                    self.speculative = True
            if exits and endless:
                # Only the bound's promise says when one of the exits is taken.
                if bound is not None and rounds >= bound:
                    self.dead = True
                    break
                if rounds >= _MOST_ENDLESS:
                    self.fail(
                        node,
                        "only a secret ends the loop; write `#pragma fhe bound(n)` "
                        "before it or give loop_bound",
                    )
            if rounds >= _MOST_ITERATIONS:
                self.fail(node, f"the loop runs more than {_MOST_ITERATIONS} times")
            inner = self.run(body)
            exits += self.join("continue", inner)
            rounds += 1
            if self.dead:
                break
            self.speculative = speculative or bool(exits)
            if following is not None:
                self.evaluate(following)
        self.speculative = speculative
        onward = self.join("break", exits)
        return onward

    # Switch

    def _switch(self, node: c_ast.Switch) -> list[Exit]:
        kind, value = self.number(node.cond)
        kind = ct.promote(kind)
        labels, segments = self._segments(node)
        matches: list[Operand] = []
        for group in labels:
            found: Operand = 0
            for label in group:
                if isinstance(label, c_ast.Case):
                    number = kind.wrap(self.concrete(label.expr, "a case label"))
                    equal = self.words.equal(value, number)
                    found = self.words.or_(found, equal)
            matches.append(found)
        nothing: Operand = 1
        for found in matches:
            nothing = self.words.and_(nothing, self.words.negation(found))
        default = [any(isinstance(x, c_ast.Default) for x in g) for g in labels]
        matches = [
            self.words.or_(m, nothing) if d else m
            for m, d in zip(matches, default, strict=True)
        ]
        self.scopes.append({})
        onward = self._cases(matches, segments, any(default))
        self.scopes.pop()
        return onward

    def _segments(
        self, node: c_ast.Switch
    ) -> tuple[list[list[Node]], list[list[Node]]]:
        """Labels and statements of each part between labels."""
        body = node.stmt
        items = body.block_items or [] if isinstance(body, c_ast.Compound) else [body]
        labels: list[list[Node]] = []
        segments: list[list[Node]] = []
        for item in items:
            group = []
            while isinstance(item, (c_ast.Case, c_ast.Default)):
                group.append(item)
                stmts = item.stmts or []
                # `case 1: case 2: x` nests the second label in the first.
                if stmts and isinstance(stmts[0], (c_ast.Case, c_ast.Default)):
                    item = stmts[0]
                else:
                    break
            if group:
                labels.append(group)
                segments.append(list(group[-1].stmts or []))
            elif segments:
                segments[-1].append(item)
            elif not isinstance(item, c_ast.Pragma):
                self.fail(item, "a statement before the first case label")
        return labels, segments

    def _cases(
        self, matches: list[Operand], segments: list[list[Node]], has_default: bool
    ) -> list[Exit]:
        words, entry, speculative = self.words, self.state, self.speculative
        exits: list[Exit] = []
        reached: Operand = 0  # by falling from the part before
        self.dead = True
        for match, segment in zip(matches, segments, strict=True):
            if isinstance(match, int) and match == 0 and self.dead:
                continue
            if self.dead:
                self.state, reached = entry.fork(), match
            else:
                self.state = merge(words, match, entry.fork(), self.state)
                reached = words.or_(match, reached)
            self.dead = False
            self.speculative = speculative or reached != 1
            exits += self._under(reached, self._segment(segment))
        self.speculative = speculative
        if not (isinstance(reached, int) and reached == 1) or self.dead:
            missing: Operand = 1
            for match in matches:
                missing = words.and_(missing, words.negation(match))
            skipped = not has_default and not (isinstance(missing, int) and not missing)
            if skipped:
                if self.dead:
                    self.state, self.dead = entry, False
                else:
                    self.state = merge(words, reached, self.state, entry)
        return self.join("break", exits)

    def _segment(self, items: list[Node]) -> list[Exit]:
        exits: list[Exit] = []
        speculative = self.speculative
        for item in items:
            if self.dead:
                break
            exits += self.run(item)
            self.speculative = speculative or bool(exits)
        return exits


_RUNNERS: dict[str, Callable[[Any, Any], list[Exit]]] = {
    "Compound": Statements._compound,
    "EmptyStatement": Statements._empty_statement,
    "Decl": Statements._decl,
    "DeclList": Statements._decl_list,
    "Typedef": Statements._typedef,
    "Pragma": Statements._pragma,
    "StaticAssert": Statements._static_assert,
    "Goto": Statements._goto,
    "Label": Statements._label,
    "Break": Statements._break,
    "Continue": Statements._continue,
    "Return": Statements._return,
    "If": Statements._if,
    "While": Statements._while,
    "DoWhile": Statements._do_while,
    "For": Statements._for,
    "Switch": Statements._switch,
    "Case": Statements._case,
    "Default": Statements._case,
}
