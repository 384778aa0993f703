"""From a checked specification to a plan: pure."""
