"""The mutation tool: which faults it makes, that it draws by seed, and that a suite kills what it should."""

import ast

import pytest

from tests.mutation.campaign import REASONS, campaign, share, stages_of, targets, without_reason
from tests.mutation.mutants import draw, mutants
from tests.mutation.trial import ROOT, Tree


def made(text):
    return {f"{mutant.place}: {mutant.fault}" for mutant in mutants("m.py", text)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a < b", {": `a < b` becomes `a <= b`"}),
        ("a is None", {": `a is None` becomes `a is not None`"}),
        ("x = a + b", {": `a + b` becomes `a - b`"}),
        ("x = a and b", {": `a and b` becomes `a or b`"}),
        ("x = not a", {": `not a` becomes `a`"}),
        ("if a:\n    b = c", {": `a` becomes `not a`"}),
        ("x = True", {": `True` becomes `False`"}),
        ("x = 1", {": `1` becomes `2`"}),
        ("x = 'head'", {": `'head'` becomes `'head_'`"}),
        ("x = 'a sentence stays'", set()),
        ("x = f(a, b)", {": `f(a, b)` becomes `f(b, a)`"}),
        ("x = f(a, a)", set()),
        ("f(a)", {": `f(a)` removed"}),
        ("def f():\n    raise a", {"f: `raise a` removed"}),
        ("class C:\n    def f(self):\n        for x in y:\n            continue", {"C.f: `continue` removed"}),
        ("def f():\n    x = a\n    y = b\n    return x", {"f: returns behind `x = a`"}),
        ('"""Module."""\nimport os\nfrom x import y', set()),
        ("@dataclass(frozen=True)\nclass C:\n    x: Literal[1]\n    __slots__ = ('a', 'b')", set()),
        ("if TYPE_CHECKING:\n    x = 1", set()),
        ("def f(x: Literal[1] = 2) -> Literal['a']:\n    '''Doc.'''", {"f: `2` becomes `3`"}),
    ],
)
def test_faults(text, found):
    assert made(text) == found


def test_each_mutant_holds_one_fault_and_the_tree_is_left_whole():
    text = "def f(a, b):\n    if a < b:\n        g(a, b)\n    x = 1\n    return x"
    found = list(mutants("m.py", text))
    assert len({mutant.text for mutant in found}) == len(found) == 6
    assert all(ast.unparse(ast.parse(text)) != mutant.text for mutant in found)


def test_the_seed_decides():
    texts = {f"{name}.py": f"def {name}(a, b):\n    return [a < b, a + b, a and b, 1, 2, 3]" for name in "fgh"}
    first = draw(texts, 1, 6)
    assert first == draw(texts, 1, 6)
    assert first != draw(texts, 2, 6)
    assert len({mutant.text for mutant in first}) == 6
    assert {mutant.key for mutant in draw(texts, 1, 100)} == {m.key for p in texts for m in mutants(p, texts[p])}


def test_every_target_has_tests_of_its_own():
    assert len(targets()) > 50
    for path in targets():
        for stage in stages_of(path):
            assert all((ROOT / part).exists() for part in stage)


def test_a_tree_fails_where_its_code_is_wrong(tmp_path):
    (tmp_path / "code.py").write_text("def double(x):\n    return x + x\n")
    (tmp_path / "test_code.py").write_text("from code import double\n\ndef test_it():\n    assert double(2) == 4\n")
    tree = Tree(tmp_path)
    assert tree.test(["test_code.py"], 60).status == 0
    (mutant,) = mutants("code.py", (tmp_path / "code.py").read_text())
    with tree.holding(mutant.path, mutant.text):
        assert tree.test(["test_code.py"], 60).status == 1
    assert tree.test(["test_code.py"], 60).status == 0


@pytest.mark.mutation
def test_most_mutants_die(tmp_path, capsys):
    with capsys.disabled():
        verdicts = campaign(tmp_path, seed=1, number=100, jobs=1, tell=print)
    assert share(verdicts) >= 0.8
    assert without_reason(verdicts, REASONS.read_text("utf-8")) == []
