import itertools
import json
import time
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox
import pytest

from flowllm.backends.local.generation.chat_templates import ChatTemplate, _Generation
from flowllm.core.errors import NodeFailure, ProviderFailure
from flowllm.core.request import Chat, Image, Message, Text, Thought, Tool, ToolUse
from flowllm.text.limits import Limits

EVERY = {
    file.stem: file.read_text("utf-8") for file in sorted((Path(__file__).parent / "chat_templates").glob("*.jinja"))
}
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
WALL = 1_790_000_000.0
WEATHER = Tool(
    "weather",
    "The weather of a <city>",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "array", "items": {"type": "integer"}}},
    },
)
ASKED = ToolUse("weather", '{"city": "Zürich", "items": [1], "days": null}', "abc123def")


def said(role, text, **more) -> Message:
    return Message(role, (Text(text),), **more)


TALKS = {
    "one turn": (said("user", "Hi "),),
    "system": (said("system", " Be short. "), said("user", "日本?")),
    "three turns": (said("user", "a"), said("assistant", "<think>\nhm\n</think>\n\nb"), said("user", "c")),
    "tools": (
        said("user", "Weather?"),
        Message("assistant", (), (ASKED,)),
        said("tool", "12 °C", tool_call_id="abc123def"),
        said("user", "Thanks"),
    ),
}


def as_transformers_does(source: str, request: Chat) -> str:
    """What the library that such templates are written for makes of one."""

    def refuse(text):
        raise jinja2.TemplateError(text)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, _Generation]
    )
    environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: time.strftime(form, time.localtime(WALL))
    from flowllm.backends.local.generation.chat_templates import _named, message_data, tool_data

    messages, tools = _named([*map(message_data, request.messages)]), [*map(tool_data, request.tools)] or None
    given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": True}
    return environment.from_string(source).render(**given, **NAMES)


@pytest.mark.parametrize("tools", [(), (WEATHER,), (WEATHER, Tool("other", "", {}))])
@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", EVERY)
def test_the_prompt_is_that_of_transformers(name, talk, tools):
    if name in ("macros", "features") and len(tools) > 1:
        tools = (WEATHER, WEATHER)
    request = Chat("local/x", TALKS[talk], tools=tools)
    try:
        expected = as_transformers_does(EVERY[name], request)
    except jinja2.TemplateError as error:
        with pytest.raises(NodeFailure, match=str(error)[:30]):
            ChatTemplate(EVERY[name], NAMES).render(request, WALL)
    else:
        assert ChatTemplate(EVERY[name], NAMES).render(request, WALL) == expected


def rendered(source: str, *, limits: Limits | None = None, **more) -> str:
    template = ChatTemplate(source, NAMES, limits=limits or Limits())
    return template.render(Chat("local/x", TALKS["one turn"]), WALL, more)


def test_further_names_and_today():
    request = Chat("local/x", TALKS["one turn"])
    assert ChatTemplate(EVERY["qwen"], {}).render(request, WALL, {"enable_thinking": False}).endswith("</think>\n\n")
    assert rendered("{{ strftime_now('%Y') }}") == "2026"


@pytest.mark.parametrize(
    ("talk", "source", "words"),
    [
        ((said("user", "a"), said("user", "b")), EVERY["mistral"], "conversation roles must alternate"),
        ((Message("assistant", (), (ASKED, ASKED)),), EVERY["llama3"], "only supports single tool-calls"),
    ],
)
def test_a_template_refuses_in_its_own_words(talk, source, words):
    with pytest.raises(NodeFailure, match=words) as caught:
        ChatTemplate(source, NAMES).render(Chat("local/x", talk), WALL)
    assert caught.value.code == "template_failed"


@pytest.mark.parametrize(
    "source",
    [
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block a %}{% endblock %}",
        "{{ open('/etc/passwd') }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ lipsum() }}",
        "{{ dict(a=1) }}",
        "{{ messages.append(1) }}",
        "{{ 'a'.format(1) }}",
        "{{ '{0.__class__}'.format_map({}) }}",
        "{{ (x or y)() }}",
        "{{ messages[0]() }}",
        "{{ range(*[1, 2]) }}",
        "{{ 1",
        "{% if %}",
        "{{ x | evil }}",
        "{" * 3 + "%",
        "{% for a in b %}" * 40 + "{% endfor %}" * 40,
        "(" + "{{ " + "[" * 3000 + "]" * 3000 + " }}",
        "x" * ((1 << 20) + 1),
    ],
)
def test_a_template_that_reaches_out_is_refused_before_it_runs(source):
    with pytest.raises(NodeFailure) as caught:
        ChatTemplate(source, NAMES)
    assert caught.value.code == "bad_template"


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0]['__class__']['x'] }}",
        "{% set ns = namespace() %}{{ ns.__class__.__init__ }}",
        "{% macro m() %}{% endmacro %}{{ m.name.__class__.x }}",
        "{{ loop.__class__ }}{% for x in messages %}{{ loop.__init__.__globals__ }}{% endfor %}",
        "{{ self.__init__.x }}",
        "{{ nothing.there }}",
        "{{ nothing['there'] }}",
        "{{ nothing.strip() }}",
        "{{ none.strip() }}",
        "{{ 2 ** 9999999 }}",
        "{{ 'x' * 99999999 }}",
        "{{ '%s' % messages }}",
        "{{ 1 // 0 }}",
        "{{ raise_exception('no') }}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{{ messages | tojson(indent=99) }}",
        "{{ messages | map('method split') | list }}",
        "{{ messages | map('nothing') | list }}",
        "{{ messages | select('nothing') | list }}",
        "{{ messages | dictsort }}",
        "{{ messages | map(attribute='__class__') | list }}",
        "{{ messages | selectattr('__class__') | list | string | length // 0 }}",
    ],
)
def test_a_template_that_reaches_in_fails(source):
    with pytest.raises(NodeFailure) as caught:
        rendered(source)
    assert caught.value.code == "template_failed"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ messages.__class__ }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{{ nothing }}",
    ],
)
def test_attributes_of_objects_are_not_there(source):
    assert rendered(source) == ""


GROW = "{% set ns = namespace(s=[1]) %}{% for a in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"


TWINS = "{% set s = ['x'] %}{% set t = ['x'] %}" + "{% set s = [s, s] %}{% set t = [t, t] %}" * 22
LONG = "messages[0].content"
EACH = "{% for a in range(999) %}{% set b = "
"""A thousand times, which alone takes less than the steps that there are."""


@pytest.mark.parametrize(
    "source",
    [
        "{{ 5.5 in range(3000000000) }}",
        "{{ 5.5 in range(-3000000000, 0) }}",
        "{{ range(3000000000, 0, -1) | unique | length }}",
        "{{ 5.5 in range(30000) }}",
        "{{ 5.5 is in(range(30000)) }}",
        "{{ range(30000).index(5.5) }}",
        "{{ [5.5] | select('in', range(30000)) | list }}",
        "{% macro m() %}{{ 5.5 in range(999) }}{% endmacro %}" + EACH + "m() %}{% endfor %}",
        "{% macro m() %}{% endmacro %}{% macro n() %}" + "{{ m() }}" * 90 + "{% endmacro %}" + "{{ n() }}" * 60,
        "{% macro m() %}" + "{% set a = 1 %}" * 200 + "{% endmacro %}" + "{{ m() }}" * 1000,
        *(TWINS + f"{{{{ {use} }}}}" for use in ("s == t", "s in [t]", "[s].index(t)", "[s].count(t)")),
        *(TWINS + f"{{{{ [s] | {use} | list }}}}" for use in ("select('eq', t)", "reject('eq', t)")),
        *(TWINS + f"{{{{ [{{'k': s}}] | {use}('k', 'eq', t) | list }}}}" for use in ("selectattr", "rejectattr")),
        *(EACH + use + " %}{% endfor %}" for use in (
            f"'x' in {LONG}", f"{LONG}.find('x')", f"{LONG}.split('a')", f"{LONG}.count('x')", f"{LONG}.upper()",
            f"[{LONG}] | map('upper') | list", f"['x'] | select('in', {LONG}) | list", f"{LONG} ~ a", f"{LONG} + 'x'",
            f"[{LONG}, {LONG}] | string | length", f"','.join([{LONG}, {LONG}]) | length", f"{LONG}[1:] | length",
        )),
        f"{{{{ {LONG}.strip({LONG}.replace('a', 'b') + 'a') }}}}",
        f"{{{{ {LONG}.lstrip({LONG}.replace('a', 'b') + 'a') }}}}",
    ],
)  # fmt: skip
def test_what_python_does_in_one_go_is_paid_for(source):
    """Each would take hours, or hold every other thread for a second."""
    few = Limits(20_000, 10_000_000, seconds=20.0)
    with pytest.raises(NodeFailure, match=r"steps|characters|numbers") as caught:
        ChatTemplate(source, NAMES, limits=few).render(Chat("local/x", (said("user", "a" * 100_000),)), WALL)
    assert caught.value.code == "template_limit"


@pytest.mark.parametrize(
    "more",
    ["set ns.t = (ns.t,)", "set ns.t = {'a': ns.t}.items() | first", "set b = m(ns.t)"],
    ids=["brackets", "items", "arguments"],
)
@pytest.mark.parametrize("use", ["{ns.t: 1}", "ns.t in {}", "[ns.t] | unique", "{}.get(ns.t)"])
def test_no_template_makes_a_value_whose_hash_overflows_the_stack(more, use):
    made = "{% set ns = namespace(t='x') %}{% macro m() %}{% set ns.t = varargs %}{% endmacro %}"
    with pytest.raises(NodeFailure, match="unhashable"):
        rendered(made + "{% for a in range(99) %}{% " + more + " %}{% endfor %}{{ " + use + " }}")


@pytest.mark.parametrize("use", ["'a' in 'b'", "'a'.find('b')", "['a'] | map('upper') | list", "['a', 'b'] | string"])
def test_the_loop_of_these_tests_takes_few_steps(use):
    assert rendered(EACH + use + " %}{% endfor %}", limits=Limits(20_000)) == ""


@pytest.mark.parametrize("bounds", ["1000001", "0, -1000001, -1", "0, 10000000, 9", "0, 3000000000"])
def test_a_range_is_not_wider_than_python_looks_through_in_a_moment(bounds):
    with pytest.raises(NodeFailure, match="asks for a range of more than 1000000 numbers") as caught:
        rendered("{% set x = range(" + bounds + ") %}")
    assert caught.value.code == "template_limit"


def test_a_template_has_few_seconds(monkeypatch):
    ticks = itertools.count()
    for name in ("monotonic", "thread_time"):
        monkeypatch.setattr(f"flowllm.text.limits.{name}", lambda: float(next(ticks)))
    with pytest.raises(NodeFailure, match="chat template failed: the template takes more than 3 s") as caught:
        ChatTemplate(EVERY["qwen"], NAMES).render(Chat("local/x", TALKS["one turn"] * 9), WALL)
    assert caught.value.code == "template_limit"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ("{% for k, v in {'a': 1} | items %}{{ k }}{{ v }}{% endfor %}", "a1"),
        ("{% for k, v in {'b': 1, 'A': 2} | dictsort %}{{ k }}{{ v }}{% endfor %}", "A2b1"),
        ("{% macro m() %}{{ varargs | length }}{{ varargs[1] }}{% endmacro %}{{ m(1, 2) }}", "22"),
        ("{{ range(10, 0, -3) | join(',') }}", "10,7,4,1"),
        ("{{ range(5) | reject('odd') | list }}{{ range(0) | list }}", "[0, 2, 4][]"),
        ("{{ [{'a': 1}, {'a': 2}] | rejectattr('a', 'eq', 1) | list }}", "[{'a': 2}]"),
        ("{{ range(1000000) | length }}", "1000000"),
    ],
)
def test_what_is_paid_for_stays_what_it_is(source, text):
    assert rendered(source) == text


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(1000000000) %}{% endfor %}",
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{{ range(1000000000) | list }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        (
            "{% macro m(n) %}{% if n %}{% set a = m(n - 1) %}{% set b = m(n - 1) %}{% endif %}{% endmacro %}"
            "{% set c = m(22) %}"
        ),
        "{% macro m() %}" + "x" * 1000 + "{% endmacro %}{% for a in range(100000) %}{% set b = m() %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        GROW + "{{ ns.s }}",
        GROW + "{{ ns.s | tojson }}",
        GROW + "{{ ns.s | string }}",
        "{% for a in range(99999) %}{{ 'a,b'.split(',') | join('x') }}{% endfor %}",
    ],
)
def test_a_template_cannot_run_or_write_for_ever(source):
    with pytest.raises(NodeFailure, match=r"steps|characters|numbers") as caught:
        rendered(source, limits=Limits(20_000, 100_000, seconds=20.0))
    assert caught.value.code == "template_limit"


def test_a_conversation_of_a_thousand_turns_is_far_from_the_limits():
    talk = tuple(said(("user", "assistant")[turn % 2], "word " * 200) for turn in range(1001))
    few = Limits(steps=200_000)
    for source in EVERY.values():
        assert len(ChatTemplate(source, NAMES, limits=few).render(Chat("local/x", talk), WALL)) > 1_000_000


def test_an_image_is_refused():
    talk = (Message("user", (Image("https://example.org/a.png"),)),)
    with pytest.raises(ProviderFailure, match="reads text") as caught:
        ChatTemplate(EVERY["qwen"], NAMES).render(Chat("local/x", talk), WALL)
    assert caught.value.code == "capability_mismatch"


def test_thoughts_and_arguments_that_are_no_json():
    talk = (said("user", "a"), said("assistant", "b", thoughts=(Thought("why"),), tool_calls=(ToolUse("f", "{bro"),)))
    source = "{{ messages[1].reasoning_content }} {{ messages[1].tool_calls[0].function.arguments }}"
    assert ChatTemplate(source, {}).render(Chat("local/x", talk), WALL) == "why {bro"
