"""Anthropic messages: all that is known of this wire format."""
