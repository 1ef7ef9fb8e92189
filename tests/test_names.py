"""The words of the code: a class name stands once in the product, and no identifier says only that something was told."""

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = "bridge", "enforcer", "zones"
VAGUE = {"told", "held", "found", "given", "made", "there", "whole", "each"}
# A field of a resource is called as the resource calls it.
OF_A_RESOURCE = {("zones/tiers/quarantines.py", "held")}


def _trees():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def _identifiers(tree):
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store(), value=ast.Name(id="self")):
                yield name


def test_a_class_name_stands_once():
    names = Counter(node.name for _, tree in _trees() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []


def test_identifiers_are_nouns_of_what_they_hold():
    vague = {(file, name) for file, tree in _trees() for name in _identifiers(tree) if name in VAGUE}
    assert vague - OF_A_RESOURCE == set()
