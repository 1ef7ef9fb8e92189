"""What both programs do with the machine that runs them. It knows nothing of policies."""
