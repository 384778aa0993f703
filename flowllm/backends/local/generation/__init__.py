"""Text from models of this machine: a prompt in, deltas out, many requests sharing one model."""
