"""`python3 -m manual.messages FILE`: every sentence that ipfod may say, from the code, into one file.

It looks at each text with a word and a space in it, whatever becomes of it, so that none is missed; what is
left out is named here, with the reason.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parents[2]
COMMAND = "make messages"
# Modules whose texts are shown elsewhere in full, or are no sentences.
ELSEWHERE = {
    "config/options.py": "docs/configuration.md",
    "ctl/parser.py": "ipfoctl(1)",
    "ctl/topics.py": "ipfoctl(1)",
    "ctl/problems.py": "docs/dbus.md",
    "bus/schema.py": "introspection data",
    "keepalived/render.py": "keepalived's configuration",
    "lab/ruleset.py": "a ruleset of nftables",
}
# Arguments that nobody reads as a message: names of tasks, the texts of --help, patterns.
SILENT_KEYWORDS = {"name", "help", "description", "epilog", "env"}
SILENT_CALLS = {"re.compile", "log.debug", "_log.debug", "shlex.split"}
HEAD = f"""\
# Messages

Every sentence that ipfod and ipfoctl may say, from the code: made by `{COMMAND}`, held by a test. What stands
in braces is put in. A message names its object first, says what happened, then what to do (the hint). Options,
commands and problem codes are explained in [configuration.md](configuration.md), [ipfoctl.md](ipfoctl.md) and
[dbus.md](dbus.md).

"""


@dataclass(frozen=True, slots=True)
class Message:
    """One text: what becomes of it ("hint", "raise Failed", "log.warning"), and the template."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A function, or the top of a module, with its texts and the problems that it raises."""

    module: str
    function: str
    codes: tuple[str, ...]
    messages: tuple[Message, ...]


def document(sources: Path = SOURCES) -> str:
    """The whole file."""
    found = [
        place for path in sorted((sources / "ipfod").rglob("*.py")) for place in places(path, sources / "ipfod")
    ]
    problems = [place for place in found if place.codes]
    rest = [place for place in found if not place.codes]
    return HEAD + "\n".join([*_part("Problems", problems), *_part("Everything else", rest)])


def places(path: Path, package: Path) -> Iterator[Place]:
    """Where a module has texts, in the order of its lines."""
    module = str(path.relative_to(package))
    if module in ELSEWHERE:
        return
    tree = ast.parse(path.read_text(), str(path))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    functions: dict[str, list[ast.expr]] = {}
    for node in sorted(_texts(tree, parents), key=lambda each: (each.lineno, each.col_offset)):
        functions.setdefault(_function(node, parents), []).append(node)
    codes = _codes(tree, parents)
    for function in codes:
        functions.setdefault(function, [])  # its texts come from elsewhere
    for function, nodes in functions.items():
        messages = tuple(Message(_role(node, parents), template(node)) for node in nodes)
        yield Place(module, function, codes.get(function, ()), messages)


def template(node: ast.expr) -> str:
    """A text as it is written, with the expressions of an f-string in braces."""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    assert isinstance(node, ast.Constant)
    return str(node.value)


def _texts(tree: ast.Module, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr | ast.Constant) or not _is_sentence(node):
            continue
        if isinstance(parents[node], ast.JoinedStr | ast.FormattedValue | ast.Expr):
            continue  # a part of another one, or a docstring
        if not _is_silent(node, parents):
            yield node


def _is_sentence(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        return False
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    literal = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    return bool(re.search(r"[A-Za-z]{2}", literal) and re.search(r"\S\s+\S", literal))


def _is_silent(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    for each in _statement(node, parents):
        if isinstance(each, ast.keyword) and each.arg in SILENT_KEYWORDS:
            return True
        if isinstance(each, ast.Call) and ast.unparse(each.func) in SILENT_CALLS:
            return True
    return False


def _statement(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    """What a node is in, from the inside to the statement."""
    while not isinstance(node := parents[node], ast.mod):
        yield node
        if isinstance(node, ast.stmt):
            return


def _function(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    names: list[str] = []
    while not isinstance(node := parents[node], ast.mod):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.insert(0, node.name)
    return ".".join(names)


def _role(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """The innermost thing that says what the text is for."""
    call = ""
    for each in _statement(node, parents):
        match each:
            case ast.keyword(arg=str(name)):
                return name
            case ast.Call() if not call:
                call = ast.unparse(each.func)
            case ast.Raise():
                hinted = any(isinstance(found, ast.keyword) and found.arg == "hint" for found in ast.walk(each))
                return f"raise {call}" if hinted or "Failed" not in call else f"raise {call}, no hint"
            case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target) if not call:
                return ast.unparse(target)
            case ast.Return() if not call:
                return "return"
            case ast.Expr() | ast.Assign() | ast.Return() if call:
                return call
    return call or "text"


def _codes(tree: ast.Module, parents: dict[ast.AST, ast.AST]) -> dict[str, tuple[str, ...]]:
    """The codes that a function names, in the functions that have texts."""
    found: dict[str, dict[str, None]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="ProblemCode"), attr=name):
                code = name.lower().replace("_", "-")
                found.setdefault(_function(node, parents), {})[code] = None
    return {function: tuple(sorted(codes)) for function, codes in found.items()}


def _part(title: str, found: list[Place]) -> Iterator[str]:
    yield f"## {title}\n"
    module = ""
    for place in found:
        if place.module != module:
            module = place.module
            yield f"### {module}\n"
        codes = f" (`{'`, `'.join(place.codes)}`)" if place.codes else ""
        yield f"{place.function or 'module'}{codes}\n"
        yield from (f"- {message.role}: `{_inline(message.text)}`" for message in place.messages)
        yield ""


def _inline(text: str) -> str:
    """Within backquotes, on one line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("`", "'")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m manual.messages FILE")
    Path(sys.argv[1]).write_text(document())
