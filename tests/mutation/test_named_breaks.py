"""Six breaks that the suite must never let through: each makes tests fail that pass on the code as it is."""

import pytest

from tests.mutation.trial import FAILED, copy_into

BREAKS = [
    pytest.param(
        "pipelines/answer.yaml",
        "          {% for d in best.items %}[{{ d.id }}] {{ d.text }}",
        "          {% for d in best.items %}[{{ d.id }}]",
        ["tests/pipelines/test_shipped.py", "-k", "comes_out_as_written and answer"],
        id="a reference dropped from a template",
    ),
    pytest.param(
        "flowllm/backends/framing.py",
        'chunk = chunk.removeprefix(b"\\n")',
        "pass",
        ["tests/unit/backends/test_framing.py"],
        id="a CR LF that is cut in two counts twice",
    ),
    pytest.param(
        "flowllm/text/truncation.py",
        'if message["role"] == "tool" else None',
        'if message["role"] == "none" else None',
        ["tests/unit/text/test_truncation.py", "-k", "conversation or turns"],
        id="the tool-pair rule of truncate skipped",
    ),
    pytest.param(
        "flowllm/policies/fallback.py",
        "rank: ClassVar[int] = 40",
        "rank: ClassVar[int] = 55",
        ["tests/unit/policies/test_chain.py"],
        id="fallback and retry swapped",
    ),
    pytest.param(
        "flowllm/policies/cache.py",
        "rank: ClassVar[int] = 20",
        "rank: ClassVar[int] = 45",
        ["tests/unit/policies/test_chain.py"],
        id="cache and fallback swapped",
    ),
    pytest.param(
        "flowllm/sinks/redact.py",
        "        return known.sub(MASK, text) if known else text",
        "        return text",
        ["tests/unit/sinks/test_redact.py"],
        id="a secret unmasked",
    ),
    pytest.param(
        "flowllm/runtime/frame.py",
        "needs = bound.step.lazy.get(case, ())",
        "needs = tuple({i for some in bound.step.lazy.values() for i in some})",
        ["tests/spec/test_language.py", "-k", "test_runs"],
        id="the route made eager",
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return copy_into(tmp_path_factory.mktemp("tree"))


@pytest.mark.parametrize(("path", "sound", "broken", "tests"), BREAKS)
def test_the_suite_fails_on(path, sound, broken, tests, tree):
    text = (tree.root / path).read_text("utf-8")
    assert text.count(sound) == 1, f"{path} does not hold this line once: {sound}"
    with tree.holding(path, text.replace(sound, broken)):
        outcome = tree.test(tests, timeout=120)
    assert outcome.status == FAILED, outcome.output[-2000:]
    assert "FAILED tests/" in outcome.output
