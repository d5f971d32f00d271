"""A pod that tries what training will need, and trains nothing."""
