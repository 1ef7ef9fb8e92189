"""What the bridge serves over HTTP: health and metrics, wake-ups, previews and status pages."""
