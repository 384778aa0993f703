"""Every hint about a provider file, put into the file as it stands, mends it."""

import copy
import re

import pytest
import yaml

from flowllm.backends.wire import check_quirks
from flowllm.catalog import card_of
from flowllm.core.errors import PipelineInvalid
from flowllm.core.origin import Origin
from tests.unit.catalog.faults import FAULTS

ACME = {"base_url": "https://api.acme.example/v1", "wire": {"chat": "openai_chat", "embed": "openai_embeddings"}}
MORE = [
    ({"bse_url": "https://x.example"}, "base_url"),
    ({"auth": {"scheme": "baerer", "env": "A"}}, "bearer"),
    ({"auth": {"nv": "A"}}, "env"),
    ({"models": {"m": {"contxt": 1}}}, "context"),
    ({"models": []}, "models: {acme-large"),
    ({"local": "maybe"}, "local: true"),
    ({"wire": {"embed": "quux"}}, "known wires"),
    ({"headers": {"v": "${oc.env:HOME}"}}, "settings: {home: {env: HOME}}, then: v: '{home}'"),
    ({"limits": {"body_bytes": 5}}, "{value: 5, source: https://"),
    ({"models": {"m": {"output": 0, "price": {"output": "two"}}}}, "output: "),
    ({"endpoints": {"files": "files"}}, "files: /files"),
    ({"auth": {"scheme": "aws"}}, "service: bedrock"),
    ({"models": {"m": {"tasks": ["chatt"]}}}, "did you mean `chat`?"),
]
WHOLE = [None, [], [{"base_url": "https://x.example"}], 3]
STEPS = 3
"""The most times that a file may be mended: the hint of a scheme is followed by that of its region."""


def faults_of(data):
    """The findings, each with the way to its part of the file."""
    ways = []

    def place(steps, part):
        ways.append((steps, part))
        return Origin(note=str(len(ways) - 1))

    try:
        card_of(data, "acme", Origin("acme.yaml"), check_quirks, {"HOME": "x", "ACME_REGION": "eu"}, place)
    except PipelineInvalid as refused:
        return [(problem, *ways[int(problem.origin.note)]) for problem in refused.problems]
    return []


def inside(data, steps):
    for step in steps:
        data = data[step]
    return data


def set_at(data, steps, value):
    if not steps:
        return value
    inside(data, steps[:-1])[steps[-1]] = value
    return data


def remove(data, steps):
    del inside(data, steps[:-1])[steps[-1]]
    return data


def renamed(data, steps, word):
    holder = inside(data, steps[:-1])
    holder[word] = holder.pop(steps[-1])
    return data


def pasted(data, problem, steps, part):
    """The file with the hint in it, as a reader who looks at the underlined words puts it there."""
    hint = problem.hint
    if problem.code == "literal_secret":
        data, hint = remove(data, steps), hint.partition(", then:")[0]
        return {**data, **yaml.safe_load(hint)}
    if found := re.fullmatch(r"did you mean `(.+)`\?", hint):
        return renamed(data, steps, found[1]) if part == "key" else set_at(data, steps, found[1])
    if hint.startswith("known "):
        words = hint.partition(": ")[2].split(", ")
        return remove(data, steps) if part == "key" else set_at(data, steps, words[0])
    if hint == "remove it":
        return remove(data, steps)
    if found := re.fullmatch(r"remove `(.+)`", hint):
        return remove(data, (*steps, found[1]))
    if hint.startswith("{"):
        return set_at(data, steps, yaml.safe_load(hint))
    if hint.endswith(":"):
        return renamed(data, steps, hint.removesuffix(":"))
    for one in hint.split(", then: "):
        data = line_pasted(data, steps, yaml.safe_load(one))
    return data


def line_pasted(data, steps, line):
    """``name: value`` goes to where the name stands, else into the mapping that was spoken of, else to the top."""
    if isinstance(line, str):
        return set_at(data, steps, line)
    ((name, value),) = line.items()
    words = [place for place, step in enumerate(steps) if isinstance(step, str)]
    if words and steps[words[-1]] == name:
        return set_at(data, steps[: words[-1] + 1], value)
    if name == "base_url_env":
        return {**remove(data, steps), name: value}
    here = data if name == "settings" else inside(data, steps)
    assert isinstance(here, dict), f"`{name}` has no place"
    here[name] = value
    return data


def mended(data):
    data = copy.deepcopy(data)
    for _ in range(STEPS):
        found = faults_of(data)
        if not found:
            return data
        for problem, steps, part in found[:1]:
            data = pasted(data, problem, steps, part)
    return data


@pytest.mark.parametrize("more", [row[0] for row in (*FAULTS, *MORE)], ids=str)
def test_a_pasted_hint_mends_the_file(more):
    faulty = ACME | copy.deepcopy(more)
    assert faults_of(faulty)
    assert faults_of(mended(faulty)) == []


@pytest.mark.parametrize(("more", "hint"), MORE, ids=str)
def test_hints_say_what_is_meant_where_it_stands(more, hint):
    assert hint in faults_of(ACME | more)[0][0].hint


@pytest.mark.parametrize("data", WHOLE, ids=str)
def test_what_is_no_file_is_given_a_small_whole_one(data):
    whole = mended(data)
    assert faults_of(data)
    assert faults_of(whole) == []
    assert set(whole) == {"base_url", "wire", "auth"}
