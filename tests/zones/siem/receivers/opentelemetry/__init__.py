"""OpenTelemetry's own reader of syslog and lines over TCP, built with Go; run by hand."""
