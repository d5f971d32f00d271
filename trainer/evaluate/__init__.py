"""Score a finished model on rows it never saw: ``python -m trainer.evaluate``, or ``evaluation.score_table``."""
