"""What answers a call: HTTP, local models and the mock."""
