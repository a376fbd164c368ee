"""The value that everything downstream reads, and what can go wrong with it."""
