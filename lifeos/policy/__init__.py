"""The policy of all gates: its built-in defaults, its schema, and how the file is loaded. Enter by `loading.load_thresholds`."""
