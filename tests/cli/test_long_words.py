"""Words of the command line that are longer than a name of a file may be, or cannot be one."""

import pytest

LONG = "word " * 80
SET = f"nodes.say.prompt='{LONG}'"


@pytest.mark.parametrize("command", ["check", "plan", "graph"])
def test_a_long_override_is_none_the_less_an_override(flowllm, echo, command):
    done = flowllm(command, str(echo), SET)
    assert (done.status, "error" in done.err) == (0, False)


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (["check", LONG], 2, "file_refused"),
        (["run", LONG], 2, "file_refused"),
        (["run", "a\0b"], 2, "file_refused"),
        (["init", LONG], 2, "file_refused"),
        (["models", "show", f"local/{LONG}"], 3, "missing_model_file"),
        (["models", "show", f"local/./{LONG}"], 3, "missing_model_file"),
    ],
)
def test_a_long_name_of_what_is_not_there(flowllm, words, status, code):
    done = flowllm(*words)
    assert (done.status, done.err.partition(":")[0]) == (status, f"error[{code}]")


@pytest.mark.parametrize("name", [LONG, f"./{LONG}"])
def test_a_long_name_of_a_model_in_a_pipeline(flowllm, folder, name):
    (folder / "rows.yaml").write_text(
        f'nodes: {{rows: {{kind: embed, in: {{text: {{const: a}}}}, model: "local/{name}"}}}}\n'
        "outputs: {o: rows.vector}\n"
    )
    assert [flowllm(command, "rows.yaml").status for command in ("check", "run")] == [0, 3]
