"""OpenAI chat completions: all that is known of this wire format."""
