"""Traces as files: Chrome JSON and Perfetto protobuf, written whole or not at all."""
