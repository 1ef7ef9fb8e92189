"""How both programs speak to an API server: requests, lists, watches, and their failures as errors."""
