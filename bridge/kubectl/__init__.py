"""The kubectl plugin: `kubectl zonebridge`. It needs Python and kubectl alone, so that one file can hold it."""
