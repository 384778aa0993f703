"""Templates, token counting and splitting: pure."""
