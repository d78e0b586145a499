"""Every mutant of a Python file: one small change each, spliced into the text as it stands.

What is changed: comparisons, their edges, arithmetic, numbers by 1, texts, booleans, conditions,
operands of `and` and `or`, filters, loops, results, members of an enumeration, one limit for
another, highest for lowest, entries of tables, named arguments; statements of a function are left
out.

Not changed: docstrings, annotations, imports, inside f-strings (which are replaced whole), how
much a cache holds and whether a class has slots (speed and memory alone).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Members = Mapping[str, tuple[str, ...]]
"""Names of enumerations (and of `limits`), each with its members in order."""

_COMPARED: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_COMPUTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_RENAMED = {
    "min": ("max",),
    "max": ("min",),
    "any": ("all",),
    "all": ("any",),
    "sum": ("max",),
    "abs": ("",),
    "sorted": ("list",),
    "lcm": ("max",),
    "gcd": ("min",),
    "bisect_left": ("bisect_right",),
    "bisect_right": ("bisect_left",),
}
_OPPOSITE = {"maximum": "minimum", "minimum": "maximum"}
_SPEED_ALONE = frozenset({"slots", "maxsize"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_LEFT_OUT = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Mutant:
    """One change of one place; `line` and `changed` are the lines it is in, without indent."""

    file: str
    function: str
    number: int
    line: str
    changed: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what the list of equivalents knows it by."""
        return self.file, self.function, self.line, self.changed

    def __str__(self) -> str:
        return f"{self.file}:{self.number}: {self.function}: {self.line}  ->  {self.changed}"


def mutants_of(file: str, source: str, members: Members) -> list[Mutant]:
    """Return every mutant of a file that differs in more than its layout, in order of place."""
    tree = ast.parse(source)
    raw = source.encode()
    starts = [0]
    for each in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(each))
    true = ast.dump(tree)
    seen = {true}
    found = []
    changes = sorted(_Changes(raw, starts, members).of(tree), key=lambda change: change[:2])
    for start, end, text, function in changes:
        changed = (raw[:start] + text.encode() + raw[end:]).decode()
        try:
            shape = ast.dump(ast.parse(changed))
        except SyntaxError:
            continue
        if shape in seen:
            continue
        seen.add(shape)
        number = sum(begin <= start for begin in starts)
        last = sum(begin < end for begin in starts)
        head = raw[starts[number - 1] : start].decode()
        tail = raw[end : starts[last]].decode()
        line = raw[starts[number - 1] : starts[last]].decode()
        found.append(
            Mutant(file, function, number, _one_line(line), _one_line(head + text + tail), changed)
        )
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())


Change = tuple[int, int, str, str]


class _Changes:
    """Walk a tree and give (start, end, text in its place, function)."""

    def __init__(self, raw: bytes, starts: list[int], members: Members) -> None:
        self._raw = raw
        self._starts = starts
        self._members = members

    def of(self, tree: ast.Module) -> Iterator[Change]:
        for statement in tree.body:
            yield from self._walk(statement, "", is_in_function=False)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword | ast.arg)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self._raw[start:end].decode()

    def _walk(self, node: ast.AST, place: str, *, is_in_function: bool) -> Iterator[Change]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr):
            if isinstance(node, ast.JoinedStr):
                yield (*self._span(node), '""', place)
            return
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return  # a docstring
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and not place:
            return  # the name of a type
        if isinstance(node, ast.keyword) and node.arg in _SPEED_ALONE:
            return
        for start, end, text in self._here(node, is_in_function):
            yield start, end, text, place
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            inner = f"{place}.{node.name}" if place else node.name
            for decorator in node.decorator_list:
                yield from self._walk(decorator, inner, is_in_function=False)
            if isinstance(node, _FUNCTIONS):
                for default in (*node.args.defaults, *node.args.kw_defaults):
                    if default is not None:
                        yield from self._walk(default, inner, is_in_function=False)
            for statement in node.body:
                yield from self._walk(statement, inner, is_in_function=isinstance(node, _FUNCTIONS))
            return
        for name, field in ast.iter_fields(node):
            if name in ("annotation", "returns"):
                continue
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from self._walk(child, place, is_in_function=is_in_function)

    def _here(self, node: ast.AST, is_in_function: bool) -> Iterator[tuple[int, int, str]]:
        if isinstance(node, ast.stmt):
            yield from self._statement(node, is_in_function)
        elif isinstance(node, ast.Compare):
            yield from self._compare(node)
        elif isinstance(node, ast.BoolOp):
            yield from self._operands(node)
        elif isinstance(node, ast.BinOp):
            was, becomes = _COMPUTED[type(node.op)]
            yield from self._between(node.left, node.right, was, (becomes,))
        elif isinstance(node, ast.UnaryOp):
            yield (*self._span(node), f"({self._text(node.operand)})")
        elif isinstance(node, ast.IfExp):
            yield (*self._span(node), f"({self._text(node.body)})")
            yield (*self._span(node), f"({self._text(node.orelse)})")
        elif isinstance(node, ast.Constant):
            yield from self._constant(node)
        elif isinstance(node, ast.Call):
            yield from self._call(node)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node)
        elif isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            yield from self._entries(node)
        elif isinstance(node, ast.comprehension):
            for condition in node.ifs:
                yield (*self._span(condition), "True")
                yield (*self._span(condition), f"not ({self._text(condition)})")
        elif isinstance(node, ast.Slice):
            for part in (node.lower, node.upper):
                if part is not None:
                    yield (*self._span(part), "")

    def _statement(self, node: ast.stmt, is_in_function: bool) -> Iterator[tuple[int, int, str]]:
        if not is_in_function:
            return
        if isinstance(node, _LEFT_OUT):
            yield (*self._span(node), "pass")
        elif isinstance(node, ast.Return) and node.value is not None:
            if not isinstance(node.value, ast.Constant):
                yield (*self._span(node.value), "None")
        elif isinstance(node, ast.If | ast.While):
            for text in ("True", "False") if isinstance(node, ast.If) else ("False",):
                yield (*self._span(node.test), text)
        elif isinstance(node, ast.For):
            yield (*self._span(node.iter), "()")
        if isinstance(node, ast.AugAssign):
            was, becomes = _COMPUTED[type(node.op)]
            yield from self._between(node.target, node.value, f"{was}=", (f"{becomes}=", "="))

    def _between(
        self, left: ast.expr, right: ast.expr, was: str, becomes: tuple[str, ...]
    ) -> Iterator[tuple[int, int, str]]:
        begin, end = self._span(left)[1], self._span(right)[0]
        at = begin + self._raw[begin:end].index(was.encode())
        for text in becomes:
            yield at, at + len(was), text

    def _compare(self, node: ast.Compare) -> Iterator[tuple[int, int, str]]:
        operands = [node.left, *node.comparators]
        for index, kind in enumerate(node.ops):
            was, becomes = _COMPARED[type(kind)]
            yield from self._between(operands[index], operands[index + 1], was, becomes)

    def _operands(self, node: ast.BoolOp) -> Iterator[tuple[int, int, str]]:
        was, becomes = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for first, second in zip(node.values, node.values[1:], strict=False):
            yield from self._between(first, second, was, (becomes,))
        neutral = "True" if was == "and" else "False"
        for operand in node.values:
            yield (*self._span(operand), neutral)

    def _constant(self, node: ast.Constant) -> Iterator[tuple[int, int, str]]:
        if isinstance(node.value, bool):
            yield (*self._span(node), str(not node.value))
        elif isinstance(node.value, int):
            yield (*self._span(node), str(node.value + 1))
            yield (*self._span(node), f"({node.value - 1})")
        elif isinstance(node.value, str):
            yield (*self._span(node), '""' if node.value else '"another"')

    def _call(self, node: ast.Call) -> Iterator[tuple[int, int, str]]:
        if isinstance(node.func, ast.Name):
            for text in _RENAMED.get(node.func.id, ()):
                yield (*self._span(node.func), text)
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in _SPEED_ALONE:
                start, end = self._span(keyword)
                yield start, self._past_comma(end), ""

    def _attribute(self, node: ast.Attribute) -> Iterator[tuple[int, int, str]]:
        _, end = self._span(node)
        if node.attr in _OPPOSITE:
            yield end - len(node.attr), end, _OPPOSITE[node.attr]
        if isinstance(node.value, ast.Name):
            known = self._members.get(node.value.id, ())
            if node.attr in known:
                at = known.index(node.attr)
                for other in {known[at - 1], known[(at + 1) % len(known)]} - {node.attr}:
                    yield end - len(node.attr), end, other

    def _entries(
        self, node: ast.Tuple | ast.List | ast.Set | ast.Dict
    ) -> Iterator[tuple[int, int, str]]:
        if isinstance(node, ast.Dict):
            for key, entry in zip(node.keys, node.values, strict=True):
                if key is None:  # `**others`
                    start = self._raw.rindex(b"**", 0, self._span(entry)[0])
                else:
                    start = self._span(key)[0]
                yield start, self._past_comma(self._span(entry)[1]), ""
        elif isinstance(getattr(node, "ctx", None), ast.Load | None):
            for element in node.elts:
                start, end = self._span(element)
                yield start, self._past_comma(end), ""

    def _past_comma(self, end: int) -> int:
        """Return the end of what is left out: with the comma after it, where there is one."""
        at = end
        while at < len(self._raw) and self._raw[at : at + 1] in b" \n":
            at += 1
        return at + 1 if self._raw[at : at + 1] == b"," else end
