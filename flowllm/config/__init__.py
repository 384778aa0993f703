"""Pipelines as written to `PipelineSpec`; the only place that knows Hydra, OmegaConf and YAML."""

from flowllm.config.files import read_source_text, read_text_file
from flowllm.config.from_mapping import parse_mapping
from flowllm.config.inputs import parse_inputs
from flowllm.config.load import load, project_of
from flowllm.config.marks import Marks
from flowllm.config.overrides import Words, expand_sweep, provider_settings, split_overrides
from flowllm.config.yaml_reader import load_yaml
from flowllm.core.packaged import packaged

__all__ = [
    "Marks",
    "Words",
    "expand_sweep",
    "load",
    "load_yaml",
    "packaged",
    "parse_inputs",
    "parse_mapping",
    "project_of",
    "provider_settings",
    "read_source_text",
    "read_text_file",
    "split_overrides",
]
