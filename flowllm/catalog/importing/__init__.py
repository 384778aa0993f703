"""Tables of models that others publish, made into registry files: facts alone, each checked, with a report."""
