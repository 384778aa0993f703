"""Pipelines as written to `PipelineSpec`; the only place that knows Hydra, OmegaConf and YAML."""

from flowllm.config.files import read_text_file
from flowllm.config.from_mapping import parse_mapping
from flowllm.config.marks import Marks

__all__ = ["Marks", "parse_mapping", "read_text_file"]
