"""The lifecycle: which steps are recorded, what a recorded cycle is, and who is told."""
