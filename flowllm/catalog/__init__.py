"""Provider and model entries as data."""
