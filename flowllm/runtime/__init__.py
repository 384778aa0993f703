"""Binds a plan to clients and secrets and carries it out."""
