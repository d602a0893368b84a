"""Text as people write it -> the text that models transcribe, and its tokens."""
