"""The field's standard problems in plain NumPy, as a user writes them."""
