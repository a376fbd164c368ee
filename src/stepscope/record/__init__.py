"""What is recorded: spans, the steps around them, and where they ran."""
