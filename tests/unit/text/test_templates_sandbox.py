"""Templates are not trusted: what gets out of other sandboxes, and what eats memory or time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Origin
from flowllm.core.slot import Expression, Template
from flowllm.text import limits
from flowllm.text.limits import DEFAULT, Limits
from flowllm.text.sandbox import ENVIRONMENT
from flowllm.text.slots import compile_evaluable, problems
from flowllm.text.writing import as_json, least_size, written

PLACE = Origin("p.yaml", 1, 1)
NAMES = {
    "q": "question",
    "m": {"k": [1, 2]},
    "xs": list(range(1000)),
    "ys": list(range(100)),
    "long": "a" * 100_000,
    "t": (1, 2),
}

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ q|attr('__class__') }}",
    "{{ q.__class__ }}",
    "{{ q['__cl' ~ 'ass__'] }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__.os }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os }}",
    "{{ config.items() }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(q) }}",
    "{{ '{0.__class__}' | format(q) }}",
    "{{ ('{0.__class__}'.format_map)(m) }}",
    "{{ '%s' % q.__class__ }}",
    "{{ [q] | map('attr', '__class__') | list }}",
    "{{ [q] | map(attribute='__class__') | list }}",
    "{{ [q] | map(attribute='__class__', default='gone') | first.__class__ }}",
    "{{ [q] | selectattr('__class__') | list }}",
    "{{ [q] | sort(attribute='__class__.__name__') }}",
    "{{ [q] | join(',', attribute='__doc__') }}",
    "{{ [q] | sum(attribute='__len__') }}",
    "{{ m.k.append(3) }}",
    "{{ m.update({'k': 1}) }}",
    "{% set m.k = 3 %}",
    "{% for x in xs %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in xs %}{{ loop._iterable }}{% endfor %}",
    "{% for x in xs %}{{ loop['__init__'] }}{% endfor %}",
    "{% for x in xs %}{{ loop.changed }}{% endfor %}",
    "{% set loop = q %}{% for x in xs recursive %}{{ loop(xs) }}{% endfor %}",
    "{{ q.encode }}",
    "{{ t.count }}",
    "{{ (1).real }}",
    "{{ (q | default).__class__ }}",
    "{{ nobody.__class__ }}",
    "{{ (nobody | default(none)).__class__ }}",
    "{{ context }}",
    "{{ environment }}",
    "{{ caller() }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{% macro f() %}{{ varargs }}{% endmacro %}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{{ q | $keep }}",
    "{{ q | xmlattr }}",
    "{{ m | pprint }}",
    "{{ m | items }}",
    "{{ dict(a=1) }}",
    "{{ range(10) }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_way_out(source):
    with pytest.raises(NodeFailure) as caught:
        compile_evaluable(Template(source, PLACE))(NAMES)
    assert caught.value.code == "template_failed"
    assert caught.value.origin.line == 1
    assert NAMES["m"] == {"k": [1, 2]}


@pytest.mark.parametrize("source", [source[2:-2] for source in ESCAPES if source.startswith("{{")])
def test_no_way_out_of_an_expression(source):
    with pytest.raises(NodeFailure):
        compile_evaluable(Expression(source.strip(), PLACE))(NAMES)


def test_nothing_of_jinja_is_at_hand():
    assert not ENVIRONMENT.globals
    assert not ENVIRONMENT.is_safe_attribute("", "upper", "".upper)
    assert not ENVIRONMENT.is_safe_callable(len)
    assert ENVIRONMENT.loader is None


@pytest.mark.parametrize("key", ["__class__", "__init__", "_private", "items", "pop", "mro"])
def test_a_key_is_data_whatever_it_is_called(key):
    source = f"{{{{ d.{key} }}}}|{{{{ d['{key}'] }}}}"
    for suffix in ("", "{% if false %}{% endif %}"):
        assert compile_evaluable(Template(source + suffix))({"d": {key: "value"}}) == "value|value"


DOUBLING = "{% set s = 'ab' %}" + "{% set s = s ~ s %}" * 40
TWINS = "{% set s = ['x'] %}{% set t = ['x'] %}" + "{% set s = [s, s] %}{% set t = [t, t] %}" * 22
"""Two lists whose items, as often as they are held, a comparison goes through for a second."""
BOMBS = {
    "nested loops": "{% for a in xs %}{% for b in xs %}{% for c in xs %}{% endfor %}{% endfor %}{% endfor %}",
    "a large body": "{% for a in xs %}{% for b in ys %}" + "{% if a %}{% endif %}" * 100 + "{% endfor %}{% endfor %}",
    "much output": "{% for a in xs %}{{ long }}{% endfor %}",
    "much literal output": "{% for a in xs %}" + "x" * 100_000 + "{% endfor %}",
    "output kept in a block": "{% set x %}{% for a in xs %}{{ long }}{% endfor %}{% endset %}",
    "literals kept in a block": "{% set x %}{% for a in xs %}" + "x" * 100_000 + "{% endfor %}{% endset %}",
    "output kept in a filter": "{% filter upper %}{% for a in xs %}{{ long }}{% endfor %}{% endfilter %}",
    "doubling by ~": DOUBLING,
    "doubling by +": DOUBLING.replace("~", "+"),
    "a list that doubles": "{% set s = [1] %}" + "{% set s = s + s %}" * 40,
    "doubling by join": "{% set s = 'ab' %}" + "{% set s = [s, s] | join(s) %}" * 40,
    "doubling by replace": "{% set s = 'aa' %}" + "{% set s = s | replace('a', 'aa') %}" * 40,
    "replace of everything": "{{ long | replace('a', long) }}",
    "join with a long text": "{{ xs | join(long) }}",
    "comparing in a loop": "{% for a in xs %}{% if 'b' in long %}{% endif %}{% endfor %}",
    "a filter in a loop": "{% for a in xs %}{% for b in m.k %}{{ xs | sum }}{% endfor %}{% endfor %}",
    "slices in a loop": "{% for a in xs %}{% for b in m.k %}{% if xs[:] %}{% endif %}{% endfor %}{% endfor %}",
    "searching again and again": "{% if 'b' in long %}{% endif %}" * 1000,
    "searching by a test": "{% for a in xs %}{% if 'b' is in(long) %}{% endif %}{% endfor %}",
    "comparing lists of lists": TWINS + "{% if s == t %}{% endif %}",
    "finding a list of lists": TWINS + "{% if s in [t] %}{% endif %}",
    "testing lists of lists": TWINS + "{% if s is eq(t) %}{% endif %}",
    "choosing lists of lists": TWINS + "{{ [{'k': s}] | selectattr('k', 'eq', t) | length }}",
    "sorting lists of lists": TWINS + "{{ [s, t] | sort | length }}",
    "the largest list of lists": TWINS + "{{ [s, t] | max | length }}",
    "the least list of lists": TWINS + "{{ [s, t] | min | length }}",
    "sorting what is one long text": "{% for a in xs %}{{ [long, long] | sort | length }}{% endfor %}",
    "a join in a loop": "{% for a in xs %}{{ [long, long] | join | length }}{% endfor %}",
    "writing lists in a loop": "{% for a in xs %}{{ [long, long] | upper | length }}{% endfor %}",
    "replacing in a loop": "{% for a in xs %}{{ 'ab' | replace('a', long) | length }}{% endfor %}",
    "trimming of many letters": "{{ long | trim(long | replace('a', 'b') ~ 'a') | length }}",
    "attributes of many letters": "{{ xs | map(attribute=long, default=1) | length }}",
    "a test with a list": "{% for a in xs %}{{ xs | selectattr('x', 'in', xs) | length }}{% endfor %}",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_stopped_by_the_counters(name):
    source = BOMBS[name]
    assert problems(Template(source), "a.text") == ()
    with pytest.raises(NodeFailure) as caught:
        compile_evaluable(Template("\n" + source, PLACE))(NAMES)
    assert (caught.value.code, caught.value.origin.line) == ("template_limit", 2)
    verb = "writes" if name.startswith(("much", "doubling by", "replace", "join")) or " kept " in name else "takes"
    assert caught.value.message.startswith(f"the template {verb} more than ")


@pytest.mark.parametrize(
    "source",
    ["{{ 'a' * 10**9 }}", "{{ 'a' * 1000000000 }}", "{{ [1] * 1000000000 }}", "{{ 'a' | center(1000000000) }}",
     "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}", "{{ 1.5 | round(1000000000) }}",
     "{{ 5 | round(-1000000000) }}", "{{ 5 | round(99999, 'ceil') }}", "{{ m | tojson(indent=1000000000) }}",
     "{{ 'a' | indent(1000000000) }}", "{{ 9 ** 9 ** 9 }}", "{{ range(99999999) | list }}",
     "{% set n = 99999999 %}" + "{% set n = n * n %}" * 40],
)  # fmt: skip
def test_bombs_that_are_refused_outright(source):
    with pytest.raises(NodeFailure) as caught:
        compile_evaluable(Template(source, PLACE))(NAMES)
    assert caught.value.code == "template_failed"


def test_a_deep_value_is_an_error_not_a_crash():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for source in ("{{ v }}", "{{ v | tojson }}", "{% if v == w %}{% endif %}"):
        with pytest.raises(NodeFailure):
            compile_evaluable(Template(source))({"v": deep, "w": [deep]})


@pytest.mark.parametrize(
    "use",
    ["{{ {t: 1} }}", "{{ m[t] }}", "{% if t in m %}{% endif %}", "{% if t is in(m) %}{% endif %}"],
)
def test_nothing_that_a_template_makes_has_a_hash_of_what_it_holds(use):
    source = "{% set t = ('x',) %}" + "{% set t = (t, t) %}" * 20
    with pytest.raises(NodeFailure, match=r"unhashable|cannot be read|and has no") as caught:
        compile_evaluable(Template(source + use))(NAMES)
    assert caught.value.code == "template_failed"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if 2 in (1, 2) %}y{% endif %}", "y"),
        ("{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}", "3 7 "),
        ("{% if (1, 2) == [1, 2] %}y{% endif %}", "y"),
        ("{{ xs | length }}{{ m | length }}{{ 'abc' | length }}", "100013"),
    ],
)
def test_lists_in_brackets(source, text):
    assert compile_evaluable(Template(source))(NAMES) == text


def test_the_time_of_a_processor_is_a_limit_that_others_do_not_use_up(monkeypatch):
    times = {"monotonic": 100.0, "thread_time": 7.0}
    monkeypatch.setattr(limits, "monotonic", lambda: times["monotonic"])
    monkeypatch.setattr(limits, "thread_time", lambda: times["thread_time"])
    meter = limits.Meter(Limits(seconds=2.0))
    meter.step(1)
    times["monotonic"], times["thread_time"] = 200.0, 8.5
    meter.step(1)
    times["monotonic"], times["thread_time"] = 200.4, 9.1
    meter.step(1)
    times["monotonic"] = 200.6
    with pytest.raises(NodeFailure, match="the template takes more than 2 s") as caught:
        meter.step(1)
    assert caught.value.code == "template_limit"


def test_without_a_limit_of_time_no_clock_is_read(monkeypatch):
    for name in ("monotonic", "thread_time"):
        monkeypatch.setattr(limits, name, lambda: 1 / 0)
    limits.Meter(DEFAULT).step(1)


def test_the_limits_can_be_set():
    loop = Template("{% for x in xs %}{{ x }}{% endfor %}")
    assert compile_evaluable(loop)({"xs": "abc"}) == "abc"
    for few in (Limits(steps=3), Limits(output=2)):
        with pytest.raises(NodeFailure, match=r"more than [23] "):
            compile_evaluable(loop, few)({"xs": "abc"})
    assert compile_evaluable(loop, Limits(steps=4, output=3))({"xs": "abc"}) == "abc"
    plain = compile_evaluable(Template("ab{{ x }}"), Limits(output=3))
    assert plain({"x": "c"}) == "abc"
    with pytest.raises(NodeFailure, match="more than 3 characters"):
        plain({"x": "cd"})


NESTED = "{% set a = [1] %}" + "{% set a = [a, a, a, a, a, a, a, a] %}" * 200
"""Two hundred lists whose JSON no memory could hold, and that no walk of all their items would end."""


@pytest.mark.parametrize(
    "use",
    ["{{ a }}", "{{ a | tojson }}", "{{ a | tojson(indent=2) }}", "{{ {'k': a} | tojson }}", "{{ a ~ '' }}",
     "{{ a | join }}", "{{ 'xy' | replace('x', a) }}", "{{ 'x' | join(a) }}", "{{ a | prose }}", "{{ a | lower }}",
     "{{ a | upper }}", "{{ a | title }}", "{{ a | trim }}", "{{ a | truncate }}", "{{ a | wordcount }}"],
)  # fmt: skip
def test_a_value_too_large_for_text_is_counted_before_it_is_written(use, monkeypatch):
    for module in ("filters", "sandbox"):
        monkeypatch.setattr(f"flowllm.text.{module}.written", lambda text: text if isinstance(text, str) else 1 / 0)
    monkeypatch.setattr("flowllm.text.filters.as_json", lambda *_: 1 / 0)
    with pytest.raises(NodeFailure, match="writes more than 1000 characters"):
        compile_evaluable(Template(NESTED + use, PLACE), Limits(output=1000))(NAMES)


data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@given(data, st.sampled_from([None, 0, 2]))
def test_what_fits_is_never_counted_as_too_large(value, indent):
    assert least_size(value) <= min(len(as_json(value, indent)), len(written(value)))


def test_each_rendering_has_its_own_counters():
    write = compile_evaluable(Template("{% for x in xs %}{{ x }}{% endfor %}"), Limits(steps=900, output=900))
    assert [len(write({"xs": "a" * 800})) for _ in range(5)] == [800] * 5


def test_the_defaults_are_those_of_the_language():
    assert (DEFAULT.steps, DEFAULT.output) == (1_000_000, 16 * 1024 * 1024)
