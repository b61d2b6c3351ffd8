"""OpenAI chat completions: all knowledge of this wire format."""
