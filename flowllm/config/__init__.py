"""The only place that knows Hydra, OmegaConf and YAML."""
