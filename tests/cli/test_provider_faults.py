"""What is wrong with providers, as a user of the command line is told."""

import pytest

PIPELINE = "flowllm: 1\nmodel: {model}\nnodes: {{ask: {{kind: call, prompt: hi}}}}\noutputs: {{said: ask.text}}\n"
OPEN = "base_url: https://api.acme.example/v1\nwire: {chat: openai_chat}\n"


@pytest.fixture
def acme(folder):
    """Writes the file of the provider `acme`, and a pipeline that asks it."""

    def write(text, model="acme/one"):
        (folder / "providers").mkdir(exist_ok=True)
        (folder / "providers/acme.yaml").write_text(text)
        (folder / "ask.yaml").write_text(PIPELINE.format(model=model))

    return write


@pytest.mark.parametrize("command", ["check", "run", "plan"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("providers.openai.base_ur=http://localhost:1", "did you mean `base_url`?"),
        ("providers.openai.settings.regin=x", "the provider has no setting `regin`"),
        ("providers.opnai.base_url=http://localhost:1", "did you mean `openai`?"),
        ("providers.openai=3", "hint: providers.openai.base_url=https://..."),
    ],
)
def test_a_typo_is_told_at_its_word_also_where_nothing_asks_the_provider(echo, flowllm, command, word, said):
    told = flowllm(command, str(echo), *(["-i", "text=hi"] if command == "run" else []), word)
    assert told.status == 2
    assert f"command line: {word}" in told.err
    assert said in told.err


def test_a_good_word_for_a_provider_that_nothing_asks_is_no_error(echo, flowllm):
    assert flowllm("check", str(echo), "providers.openai.base_url=http://localhost:1").status == 0


@pytest.mark.parametrize(
    ("more", "code", "underlined", "hint"),
    [
        ("registry: opnai\n", "bad_value", "opnai", "did you mean `openai`?"),
        ("registry: quux\n", "bad_value", "quux", "known here: "),
        ("models: {one: {supports: [tolos]}}\n", "bad_value", "tolos", "did you mean `tools`?"),
        ("models: {one: {checked: yesterday}}\n", "bad_value", "yesterday", "checked: 2026-11-22"),
        ("models: {one: {tasks: [chatt]}}\n", "bad_value", "chatt", "did you mean `chat`?"),
        ("quirks: {errors: {codes: {X: quotaa}}}\n", "bad_value", "quotaa", "did you mean `quota`?"),
    ],
)
def test_a_fault_of_the_file_is_underlined(acme, flowllm, more, code, underlined, hint):
    acme(OPEN + more)
    told = flowllm("check", "ask.yaml")
    assert told.status == 2
    assert f"error[{code}]" in told.err
    assert hint in told.err
    line = next(line for line in told.err.splitlines() if more.strip() in line)
    marks = told.err.splitlines()[told.err.splitlines().index(line) + 1]
    assert line[marks.index("^") : marks.rindex("^") + 1] == underlined


@pytest.mark.parametrize("known", ["openai", "acme"])
def test_models_may_be_those_of_a_known_provider(acme, flowllm, known):
    acme(f"{OPEN}registry: {known}\n")
    assert flowllm("check", "ask.yaml").status == 0


@pytest.mark.parametrize("text", ["", "[]\n", "- base_url: https://x.example\n"])
def test_what_is_no_file_is_told_with_a_whole_one(acme, flowllm, text):
    acme(text)
    told = flowllm("check", "ask.yaml")
    assert told.status == 2
    hint = told.err.partition("hint: ")[2].partition("\n")[0]
    assert hint.startswith("{base_url: ")
    acme(hint)
    assert flowllm("check", "ask.yaml").status == 0


def test_a_file_without_wires_is_told_what_to_write(acme, flowllm):
    acme("base_url: https://api.acme.example/v1\n")
    told = flowllm("check", "ask.yaml")
    assert told.status == 2
    assert "error[missing_field]" in told.err
    assert "providers/acme.yaml" in told.err
    assert "hint: wire: {chat: openai_chat}" in told.err
    acme("base_url: https://api.acme.example/v1\nwire: {chat: openai_chat}\n")
    assert flowllm("check", "ask.yaml").status == 0


@pytest.mark.parametrize(
    ("model", "hint"),
    [("voyage/voyage-3", "hint: model: "), ("openai/text-embedding-3-small", "hint: model: openai/gpt-")],
)
def test_a_model_that_does_not_chat_is_answered_with_one_that_does(folder, flowllm, model, hint):
    (folder / "ask.yaml").write_text(PIPELINE.format(model=model))
    told = flowllm("check", "ask.yaml")
    assert told.status == 2
    assert "error[capability_mismatch]" in told.err
    assert hint in told.err
    assert "mock/" not in told.err
    instead = told.err.partition("hint: model: ")[2].split()[0]
    assert flowllm("check", "ask.yaml", f"model={instead}").status == 0


def test_the_folder_that_was_searched_is_named(folder, flowllm, acme):
    (folder / "ask.yaml").write_text(PIPELINE.format(model="quux/m"))
    assert "hint: its file would be providers/quux.yaml; " in flowllm("check", "ask.yaml").err
    acme(OPEN)
    other = folder.parent / "other"
    other.mkdir()
    (other / "pyproject.toml").write_text("")
    (other / "ask.yaml").write_text(PIPELINE.format(model="acme/m"))
    assert "acme" in flowllm("providers", "list").out
    told = flowllm("check", "../other/ask.yaml")
    assert told.status == 2
    assert f"{folder / 'providers/acme.yaml'} is of another project" in told.err
    assert f"{other / 'providers/acme.yaml'}" in told.err


def test_a_name_in_other_letters_is_the_name(folder, flowllm):
    (folder / "ask.yaml").write_text(PIPELINE.format(model="OpenAI/gpt-5-mini"))
    assert "did you mean `openai/gpt-5-mini`?" in flowllm("check", "ask.yaml").err
