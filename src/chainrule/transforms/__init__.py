"""The public functions: each opens a level, traces, derives, and runs or hands on."""
