import os
import subprocess
import sys
import threading

import pytest

from flowllm.config import load
from flowllm.core import secrets
from flowllm.core.errors import CODES, FlowError, PipelineInvalid, UsageError
from flowllm.core.origin import Layout
from flowllm.core.slot import Literal, Path, Template

HEAD = "flowllm: 1\ninputs: {q: string}\nmodel: null\n"


def first(spec):
    return spec.problems[0] if spec.problems else None


def test_places_of_fields_and_of_lines_in_a_block(loaded):
    spec = loaded(
        "nodes:\n"
        "  ask:\n"
        "    kind: call\n"
        "    temperatur: 1\n"
        "    temperature: 2\n"
        "    prompt:\n"
        "      - user: |\n"
        "          one\n"
        "          {{ two }}\n"
        "outputs: {o: ask.text}\n"
    )
    node = spec.nodes["ask"]
    template = node.fields["prompt"].messages[0].parts[0]
    assert (template.source, template.origin.layout) == ("one\n{{ two }}\n", Layout(10))
    assert (template.origin.line, template.origin.column) == (8, 11)
    lines = {name: (node.place(name).line, node.place(name).column) for name in ("temperatur", "temperature", "nope")}
    assert lines == {"temperatur": (4, 5), "temperature": (5, 18), "nope": (2, 3)}
    assert (spec.place("outputs.o").line, spec.place("outputs.o").column) == (10, 14)
    assert spec.place("nodes.ask").line == 2
    assert spec.place("nodes.ask.prompt").line == 7


def test_defaults_and_overrides_have_their_places(loaded):
    spec = loaded(
        "defaults:\n  - retry@policies.retry: mine\n  - _self_\nnodes: {a: {kind: call, prompt: x, temperature: 1}}\n",
        "nodes.a.temperatur=0.2",
        "nodes.a.temperature=0.5",
        "model=x/y",
        "policies.retry.attempts=9",
        files={"conf/retry/mine.yaml": "# mine\nattempts: 2\nbase: 1s\n"},
    )
    assert spec.policies == {"retry": {"attempts": 9, "base": "1s"}}
    assert str(spec.place("policies.retry.base")).endswith("conf/retry/mine.yaml:3:7")
    assert str(spec.place("policies.retry.attempts")) == "command line: policies.retry.attempts=9"
    assert spec.nodes["a"].params == {"temperature": 0.5, "temperatur": 0.2}
    assert str(spec.nodes["a"].place("temperatur")) == "command line: nodes.a.temperatur=0.2"
    assert (spec.model, str(spec.place("model"))) == ("x/y", "command line: model=x/y")
    assert spec.problems == ()


AT_ALL = "nodes: {a: {kind: fake}}\noutputs: {}\n"


@pytest.mark.parametrize(
    ("word", "attempts"),
    [("retry@policies.retry=patient", 10), ("+retry@policies.retry=once", 1), ("++policies.retry={attempts: 3}", 3)],
)
def test_packaged_groups(loaded, word, attempts):
    text = (
        "nodes: {}\n" if word.startswith("+") else "defaults: [{retry@policies.retry: standard}, _self_]\nnodes: {}\n"
    )
    assert loaded(text, word).policies["retry"]["attempts"] == attempts


@pytest.mark.parametrize(
    ("text", "words", "code", "place", "message", "hint"),
    [
        (
            "nodes: {ask: {kind: call}}",
            ["nodes.aks.k=1"],
            "unknown_reference",
            "command line: nodes.aks.k=1",
            "no node `aks`",
            "did you mean `nodes.ask`?",
        ),
        (
            "nodes: {}",
            ["nod.a=1"],
            "unknown_field",
            "command line: nod.a=1",
            "a pipeline has no `nod`",
            "did you mean `nodes`?",
        ),
        ("nodes: {}", ["+nod.a=1"], "unknown_field", "command line: +nod.a=1", "has no `nod`", None),
        (
            "inputs: {q: string}",
            ["inputs.q=hi"],
            "bad_override",
            "command line: inputs.q=hi",
            "takes no value",
            "input.q=hi",
        ),
        (
            "inputs: {q: string}",
            ["inputs.z.default=hi"],
            "unknown_input",
            "command line: inputs.z.default=hi",
            "no input `z`",
            None,
        ),
        ("vars: {t: 1}", ["vars.s=2"], "unknown_field", "command line: vars.s=2", "`vars` has no `s`", "known here: t"),
        (
            "nodes: {}",
            ["hydra.searchpath=[x]"],
            "bad_override",
            "command line: hydra.searchpath=[x]",
            "`hydra` cannot be set",
            None,
        ),
        ("nodes: {}", ["hydra/job_logging=none"], "bad_override", None, "", None),
        ("nodes: {}", ["defaults=[]"], "bad_override", None, "cannot be set", None),
        (
            "nodes: {a: {kind: call}}",
            ["nodes.a.prompt={{ x }}"],
            "bad_override",
            None,
            "needs quotes",
            "'nodes.a.prompt=\"{{ x }}\"'",
        ),
        (
            "nodes: {a: {kind: call}}",
            ["nodes.a.in.x=d.items[0].id"],
            "bad_override",
            None,
            "needs quotes",
            "'nodes.a.in.x=\"d.items[0].id\"'",
        ),
        (
            "vars: {m: 1}",
            ["vars.m=a,b"],
            "bad_override",
            None,
            "more than one value",
            "'vars.m=[a,b]' is a list; add -m to run once for each value",
        ),
        ("nodes: {}", ["model"], "bad_override", None, "`name=value`", None),
        ("nodes: {}", ["~nodes.zz"], "bad_override", None, "does not exist", None),
        (
            "defaults: [{retry@policies.retry: nope}]",
            [],
            "bad_value",
            "1:35",
            "no `retry/nope`",
            "known here: once, patient, standard",
        ),
        (
            "defaults: [{retry@policies.retry: once}]",
            ["retry@policies.retry=patent"],
            "bad_value",
            "command line: retry@policies.retry=patent",
            "no `retry/patent`",
            "did you mean `patient`?",
        ),
        ("defaults: 3", [], "bad_value", "1:11", "`defaults` is a list", None),
        ("defaults: [retry/once]", [], "unknown_field", None, "a pipeline has no `retry`", "policies: {retry: ...}"),
        ('vars: {t: "${vars.u}"}', [], "bad_value", "1:12", "`${vars.u}` leads to nothing", None),
        ('vars: {a: "${vars.b}", b: "${vars.a}"}', [], "bad_value", "1:12", "back to itself", None),
        ('vars: {a: "${nope:1}"}', [], "bad_value", "1:12", "no resolver `nope`", None),
        ('vars: {a: "${oc.env:FLOWLLM_NOT_SET}"}', [], "bad_value", "1:12", "`FLOWLLM_NOT_SET` is not set", None),
        ('vars: {a: "${a b}"}', [], "bad_value", "1:12", "cannot be read", None),
        (
            "nodes: {a: {kind: pipeline, use: acme/rank}}",
            [],
            "not_available_yet",
            "1:34",
            "libraries like `acme/rank`",
            None,
        ),
        ("nodes: {a: {kind: pipeline, use: ./no.yaml}}", [], "sub_pipeline", "1:34", "no such file", None),
        ("nodes: {a: {kind: pipeline, use: ../no.yaml}}", [], "sub_pipeline", "1:34", "outside the project", None),
        ("nodes: {a: {kind: prompt, file: ./no.md}}", [], "file_refused", "1:33", "no such file", None),
        ("nodes: {r: {kind: route, cases: {true: a.b}}}", [], "bad_key", "1:34", "key true is not a string", None),
        ("nodes: {r: {kind: route, cases: {012: a.b}}}", [], "bad_key", "1:34", "key 012 is not a string", None),
        ("inputs: {q: 012}", [], "bad_schema", "1:13", "not `012`", None),
        ("[1]", [], "bad_yaml", "1:1", "not a list", None),
        ("", [], "bad_yaml", "1:1", "the file is empty; a pipeline is a mapping", None),
        ("nodes: {a: }", [], "bad_value", "1:12", "`a` is empty; a node is a mapping", None),
        *(
            (AT_ALL, [word], "bad_override", f"command line: {word}", message, hint)
            for word, message, hint in [
                ("cache@policies.cache=week", "chooses no `cache@policies.cache`", "+cache@policies.cache=week"),
                ("cache=week", "chooses no `cache`", "+cache@policies.cache=week"),
                ("~cache@policies.cache", "chooses no `cache@policies.cache`", "leave the word out"),
                ("+retri@policies.retry=once", "there is no group `retri`", "did you mean `retry`?"),
                ("retri@policies.retry=once", "there is no group `retri`", "did you mean `retry`?"),
            ]
        ),
        ("defaults: [retri@policies.retry: once]", [], "bad_value", "1:34", "no `retri/once`", "did you mean `retry`?"),
    ],
)
def test_problems(loaded, text, words, code, place, message, hint):
    found = next(p for p in loaded(text, *words).problems if p.code == code)
    assert code in CODES
    assert message in found.message
    assert found.hint
    if place:
        assert str(found.origin).endswith(place)
    if hint:
        assert found.hint == hint


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: {b: docs[0].id}", "bad_yaml", "1:12"),
        ("nodes: {a: {kind: call, _target_: os.system}}", "untrusted_key", "1:25"),
        ("nodes: {}\nhydra: {searchpath: [x]}", "untrusted_key", "2:1"),
        ("# @package _global_\nnodes: {}", "untrusted_key", "1:1"),
        ("\n#  @package foo\nnodes: {}", "untrusted_key", "2:1"),
        ('"@package": x', "untrusted_key", "1:1"),
        ("defaults: [../out/x]", "untrusted_key", "1:12"),
        ("defaults: [/etc/x.yaml]", "untrusted_key", "1:12"),
        ("defaults: [{retry@_global_: standard}]", "untrusted_key", "1:12"),
        ("defaults: [pkg://hydra.conf/x]", "untrusted_key", "1:12"),
        ("defaults: [{retry: ../../x}]", "untrusted_key", "1:12"),
        ("defaults: [{override hydra/job_logging: none}]", "untrusted_key", "1:12"),
        ("defaults: [file:///etc/x]", "untrusted_key", "1:12"),
    ],
)
def test_what_stops_the_load(loaded, text, code, place):
    with pytest.raises(PipelineInvalid) as caught:
        loaded(text)
    found = caught.value.problems[0]
    assert (found.code, str(found.origin).rpartition("p.yaml:")[2]) == (code, place)
    assert found.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('vars: {a: "${oc.env:SECRET_X}"}', "untrusted_resolver"),
        ('vars: {a: "x ${oc.decode:${oc.env:SECRET_X}}"}', "untrusted_resolver"),
        ('vars: {a: "${${vars.b}}", b: c}', "untrusted_resolver"),
        ('vars: {a: "${ oc.env : SECRET_X }"}', "untrusted_resolver"),
        ('vars: {a: "${oc.env:SECRET_X"}', "untrusted_resolver"),
        ('nodes: {a: {kind: call, schema: "${oc.env:SECRET_X}"}}', "untrusted_resolver"),
        ('nodes: {a: {kind: route, switch: {const: "${oc.env:SECRET_X}"}}}', "untrusted_resolver"),
        ('outputs: {o: "${oc.env:SECRET_X}"}', "untrusted_resolver"),
        ("vars: {_partial_: true}", "untrusted_key"),
        ("vars: {x: [{_args_: [1]}]}", "untrusted_key"),
    ],
)
def test_libraries_may_not(loaded, monkeypatch, text, code):
    monkeypatch.setenv("SECRET_X", "hunter2hunter2")
    with pytest.raises(PipelineInvalid) as caught:
        loaded(text, trusted=False)
    assert caught.value.problems[0].code == code
    assert "hunter2" not in str(caught.value)


def test_libraries_may_refer_and_have_dollars_in_prompts(loaded):
    spec = loaded(
        'vars: {t: 0.5}\nnodes: {a: {kind: call, temperature: "${vars.t}", prompt: "${oc.env:HOME} ${x:y}"}}',
        trusted=False,
    )
    assert spec.nodes["a"].params == {"temperature": 0.5}
    assert spec.nodes["a"].fields["prompt"].messages[0].parts[0].source == "${oc.env:HOME} ${x:y}"


DANGEROUS = [
    "os.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.open", "builtins.__import__",
    "pathlib.Path.write_text", "shutil.copy", "shutil.rmtree", "os.getenv", "urllib.request.urlopen",
    "logging.FileHandler", "jinja2.Template.render", "importlib.import_module", "runpy.run_path", "pickle.loads",
    "collections._sys.modules.get", "hydra.utils.instantiate", "os.execv", "ctypes.CDLL",
]  # fmt: skip


@pytest.mark.parametrize("target", DANGEROUS)
@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("place", ["own", "group", "sub"])
def test_no_target_is_ever_called(loaded, tmp_path, monkeypatch, target, trusted, place):
    marker = tmp_path / "marker"
    monkeypatch.setenv("HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE", "*")
    evil = f'{{_target_: {target}, _args_: ["touch {marker}", "{marker}"]}}'
    texts = {
        "own": (f"nodes: {{a: {{kind: call, x: {evil}}}}}", {}),
        "group": ("defaults: [{x@vars: evil}]\nnodes: {}", {"conf/x/evil.yaml": evil}),
        "sub": ("nodes: {a: {kind: pipeline, use: ./s.yaml}}", {"s.yaml": f"vars: {evil}"}),
    }
    text, files = texts[place]
    try:
        found = loaded(text, files=files, trusted=trusted).problems
    except PipelineInvalid as error:
        found = error.problems
    assert "untrusted_key" in {problem.code for problem in found}
    assert not marker.exists()
    assert "HYDRA_INSTANTIATE_ALLOWLIST_OVERRIDE" not in os.environ


FAST_AND_SLOW = """
name: same
vars: {t: 0.5, list: [a, 1, null, true]}
inputs: {q: string, n: {type: integer, default: 3}}
nodes:
  ask:
    kind: call
    temperature: 0.5
    prompt:
      - system: "??? costs \\\\${5}"
      - user: "{{ inputs.q }}"
  r: {kind: route, switch: {const: null}, cases: {"null": {const: [1, {x: "???"}]}}, default: inputs.q}
outputs: {o: "{{ ask.text ~ '???' }}", "p": r.value}
"""


@pytest.mark.parametrize(
    "change", [("", "name=same"), ("defaults: [_self_]\n", None), ('description: "${name}"\n', None)]
)
def test_with_and_without_hydra_the_spec_is_the_same(loaded, change):
    head, word = change
    fast = loaded(FAST_AND_SLOW)
    slow = loaded(head + FAST_AND_SLOW, *([word] if word else []))
    assert fast.problems == slow.problems == ()
    assert {name: node.fields for name, node in fast.nodes.items()} == {
        name: node.fields for name, node in slow.nodes.items()
    }
    for name in ("name", "inputs", "outputs", "policies", "models"):
        left, right = getattr(fast, name), getattr(slow, name)
        assert _plain(left) == _plain(right)


def _plain(value):
    return (
        {k: (v.schema if hasattr(v, "schema") else v) for k, v in value.items()} if isinstance(value, dict) else value
    )


def test_hydra_is_not_imported_for_a_plain_file(project):
    path = project({"p.yaml": FAST_AND_SLOW.replace("\\\\$", "$")})
    code = (
        "import sys; from flowllm.config import load; from flowllm.core.kinds import Kinds; "
        "load(sys.argv[1], kinds=Kinds()); print('hydra' in sys.modules, 'omegaconf' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [
        ("prompt", '"a ${b} ${5} ${c:d}"', "a ${b} ${5} ${c:d}"),
        ("prompt", '"\\\\${x}"', "\\${x}"),
        ("prompt", '"???"', "???"),
        ("prompt", '"${a b} ${ ${"', "${a b} ${ ${"),
        ("prompt", '"\ue0000\ue001 ${x}"', "\ue0000\ue001 ${x}"),
    ],
)
@pytest.mark.parametrize("word", [None, "name=x"])
def test_dollars_in_bodies_are_text(loaded, field, written, value, word):
    spec = loaded(f"nodes: {{a: {{kind: call, {field}: {written}}}}}", *([word] if word else []))
    assert spec.problems == ()
    assert spec.nodes["a"].fields[field].messages[0].parts[0].source == value


@pytest.mark.parametrize("word", [None, "name=x"])
def test_dollars_elsewhere_are_typed(loaded, word):
    spec = loaded(
        "model: null\nvars: {list: [a, 1], path: inputs.q, t: 0.5}\n"
        "nodes:\n"
        ' r: {kind: route, switch: {const: "${model}"}, cases: {x: {const: "${vars.list}"}}, default: "${vars.path}"}\n'
        ' a: {kind: call, temperature: "${vars.t}", extra: "t=${vars.t}", in: {e: "{{ \'${x}\' }}"}}\n',
        *([word] if word else []),
    )
    route, ask = spec.nodes["r"], spec.nodes["a"]
    assert route.fields["switch"] == Literal(None)
    assert route.fields["cases"].slots["x"] == Literal(["a", 1])
    assert route.fields["default"] == Path("inputs", ("q",))
    assert ask.params == {"temperature": 0.5, "extra": "t=0.5"}
    assert "${x}" in ask.ports["e"].source


def test_environment_values_go_to_the_redactor(loaded, monkeypatch):
    monkeypatch.setenv("FLOWLLM_TEST_SECRET", "sesame-open-7731")
    spec = loaded('vars: {k: "${oc.env:FLOWLLM_TEST_SECRET}"}\ndescription: "${vars.k}"')
    assert spec.description == "sesame-open-7731"
    assert "sesame-open-7731" in secrets.registered()


def test_of_a_text_around_a_variable_its_value_alone_goes_to_the_redactor(loaded, monkeypatch):
    monkeypatch.setenv("FLOWLLM_TEST_SECRET", "sesame-inner-7732")
    spec = loaded('description: "Bearer ${oc.env:FLOWLLM_TEST_SECRET}"')
    assert spec.description == "Bearer sesame-inner-7732"
    assert "sesame-inner-7732" in secrets.registered()
    assert "Bearer sesame-inner-7732" not in secrets.registered()


def test_the_default_of_a_variable_that_is_not_set_is_no_secret(loaded, monkeypatch):
    monkeypatch.setenv("FLOWLLM_TEST_SECRET", "sesame-other-7733")
    inner = "${oc.env:FLOWLLM_NOT_SET,${oc.env:FLOWLLM_TEST_SECRET}}"
    spec = loaded(f'description: "${{oc.env:FLOWLLM_NOT_SET,friendly-7734}} {inner}"')
    assert spec.description == "friendly-7734 sesame-other-7733"
    assert {"friendly-7734", "sesame-other-7733"} & {*secrets.registered()} == {"sesame-other-7733"}


def test_prompts_from_files(loaded):
    spec = loaded(
        "nodes: {p: {kind: prompt, file: ./in/p.md}, c: {kind: call, prompt: [{system: {file: in/s.md}}]}}",
        files={"in/p.md": "Hi {{ inputs.q }} ${x}\n", "in/s.md": "S"},
    )
    text = spec.nodes["p"].fields["text"]
    assert (text.source, text.origin.line, text.origin.column) == ("Hi {{ inputs.q }} ${x}\n", 1, 1)
    assert text.origin.file.endswith("in/p.md")
    assert spec.nodes["p"].params == {}
    assert spec.nodes["c"].fields["prompt"].messages[0].parts == (Template("S"),)


def test_sub_pipelines_are_relative_to_their_file(loaded):
    use = "nodes: {{d: {{kind: pipeline, use: {}}}}}\noutputs: {{o: d.o}}"
    spec = loaded(
        use.format("./sub/one.yaml"),
        files={"sub/one.yaml": use.format("./two.yaml"), "sub/two.yaml": use.format("./one.yaml")},
    )
    two = spec.pipelines["./sub/one.yaml"].pipelines["./two.yaml"]
    assert two.file.endswith("sub/two.yaml")
    assert [str(p) for p in spec.problems] == [
        "./two.yaml: cycle d.use: the pipeline uses itself: ./sub/one.yaml -> ./two.yaml -> ./one.yaml"
    ]


def test_broken_sub_pipelines_are_reported_with_their_name(loaded):
    spec = loaded("nodes: {d: {kind: pipeline, use: ./s.yaml}}", files={"s.yaml": "a: {b: docs[0]}"})
    assert str(spec.problems[0]).startswith("./s.yaml: bad_yaml")


def test_folders_named_like_keys_are_no_groups(loaded):
    spec = loaded(
        "models: {a: x/y}\nnodes: {}", "models.b=c/d", files={"conf/models/a.yaml": "x: 1", "models/a.yaml": "x: 1"}
    )
    assert spec.models == {"a": "x/y", "b": "c/d"}


def test_the_whole_list_comes_at_once(loaded):
    spec = loaded("nods: 1\nnodes: {a-b: {kind: call}, c: {}}\ninputs: {q: strin}", "foo=1", "nodes.zz.x=1")
    assert {p.code for p in spec.problems} == {
        "unknown_field",
        "bad_name",
        "missing_field",
        "bad_schema",
        "unknown_reference",
    }
    assert len(spec.problems) == 6


def test_hydra_of_the_process_is_put_back(loaded, tmp_path):
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.version import getbase

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "c.yaml").write_text("x: 1")
    with initialize_config_dir(str(tmp_path / "theirs"), version_base="1.2"):
        assert loaded("nodes: {}", "model=a/b").model == "a/b"
        assert str(getbase()) == "1.2"
        assert compose("c").x == 1
    assert not GlobalHydra.instance().is_initialized()
    assert loaded("nodes: {}", "model=a/c").model == "a/c"
    assert not GlobalHydra.instance().is_initialized()


def test_threads_do_not_mix(project, kinds):
    path = project({"p.yaml": "model: null\nnodes: {}"})
    found = {}

    def read(index):
        found[index] = load(path, [f"model=m/{index}"], kinds=kinds).model

    threads = [threading.Thread(target=read, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {index: f"m/{index}" for index in range(6)}


def test_files_that_cannot_be_read(tmp_path, kinds):
    os.mkfifo(tmp_path / "pipe.yaml")
    for name in ("none.yaml", "pipe.yaml", "."):
        with pytest.raises(UsageError) as caught:
            load(tmp_path / name, kinds=kinds)
        assert caught.value.code == "file_refused"


@pytest.mark.parametrize("text", ["defaults: [p]\n", "defaults: [{x: a}]", "defaults: [x/a]"])
def test_defaults_in_circles(loaded, text):
    try:
        found = loaded(text, files={"conf/x/a.yaml": "defaults: [b]", "conf/x/b.yaml": "defaults: [a]"}).problems
    except FlowError:
        return
    assert found


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-" + "a1B2" * 10,
        "AIza" + "x" * 35,
        "AKIA" + "A1" * 8,
        "ASIA" + "A1" * 8,
        "github_pat_" + "a1B2" * 6,
        "glpat-" + "a1B2" * 5,
        "xai-" + "a1B2" * 10,
        "pplx-" + "a1B2" * 10,
        "ghp_" + "a" * 36,
        "-----BEGIN RSA PRIVATE KEY-----",
    ],
)
def test_secrets_in_files_are_found_and_not_repeated(loaded, secret):
    found = loaded(f'vars: {{k: "Bearer {secret}"}}').problems[0]
    assert (found.code, found.where, found.origin.column) == ("literal_secret", "vars.k", 12)
    assert secret not in found.message + found.hint


@pytest.mark.parametrize("text", ["sk-short", "ask-the-user-for-more-details-please-now", "task_sk", "sk-" + "x" * 10])
def test_words_that_only_look_like_secrets(loaded, text):
    assert loaded(f'vars: {{k: "{text}"}}').problems == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("# @package _global_\nattempts: 3", "untrusted_key"),
        ("attempts: 3\nattempts: 4", "bad_yaml"),
        ("attempts: {true: 1}", "bad_key"),
        ("defaults: [../../etc/x]\nattempts: 3", "untrusted_key"),
        ("a: &a [*a]", "bad_yaml"),
    ],
)
def test_files_of_groups_are_guarded_too(loaded, text, code):
    try:
        found = loaded("defaults: [{x@policies.retry: a}]\nnodes: {}", files={"conf/x/a.yaml": text}).problems
    except PipelineInvalid as error:
        found = error.problems
    assert found[0].code == code
    assert found[0].origin.file.endswith("conf/x/a.yaml")


def test_constants_are_configuration_even_with_braces(loaded):
    spec = loaded('vars: {x: 1}\nnodes: {r: {kind: route, switch: {const: "{{ ${vars.x} }}"}}}')
    assert spec.nodes["r"].fields["switch"] == Literal("{{ 1 }}")


@pytest.mark.parametrize("word", [None, "name=x"])
def test_marks_of_our_own_in_a_file_stay_text(loaded, word):
    odd = "\ue0000\ue001"
    spec = loaded(f'description: "{odd}"\nnodes: {{a: {{kind: call, prompt: "${{x}}"}}}}', *([word] if word else []))
    assert spec.description == odd


def test_question_marks_win_over_defaults(loaded):
    files = {"conf/base.yaml": "description: theirs"}
    assert loaded('defaults: [base]\ndescription: "???"', files=files).description == "???"


def test_one_composition_at_a_time(project, kinds, monkeypatch):
    from flowllm.config import groups

    path = project({"p.yaml": "model: null\nnodes: {}"})
    load(path, ["model=a/b"], kinds=kinds)
    found, entered, hydra = [], threading.Event(), groups._hydra
    monkeypatch.setattr(groups, "_hydra", lambda composition: (entered.set(), hydra(composition))[1])
    thread = threading.Thread(target=lambda: found.append(load(path, ["model=c/d"], kinds=kinds).model))
    with groups._LOCK:
        thread.start()
        assert not entered.wait(1)
    thread.join()
    assert found == ["c/d"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('a: "${vars.b}", b: "${vars.a}"', "give one of them a value of its own: a: value"),
        ('alpha: 1, a: "${vars.alpa}"', "did you mean `${vars.alpha}`?"),
        ('e: 1, a: "${vars.zebra}"', "vars: {zebra: value}"),
        ('a: "${nowhere.b}"', '`vars` holds your own configuration: vars: {name: value}, read as "${vars.name}"'),
        ('a: "${oc.env:NO_SUCH}"', 'export NO_SUCH=..., or give a default: "${oc.env:NO_SUCH,default}"'),
        ('a: "${nope:1}"', '"${oc.env:NAME}" reads the environment, "${vars.name}" your own configuration'),
    ],
)
def test_every_failed_interpolation_has_its_own_hint(loaded, text, hint):
    assert [problem.hint for problem in loaded(f"vars: {{{text}}}").problems] == [hint]


def test_an_override_inside_a_text_is_said_of_what_it_makes(loaded):
    spec = loaded("nodes: {a: {kind: call, prompt: x}}", "nodes.a.prompt.y=1")
    assert [problem.message for problem in spec.problems] == ["a mapping is not a text"]
