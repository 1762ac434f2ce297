"""The lifecycle layer: waits for servers to settle, at the cost of few polls."""
