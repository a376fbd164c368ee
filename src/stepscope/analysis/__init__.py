"""Numbers from traces: events, averages, tables."""
