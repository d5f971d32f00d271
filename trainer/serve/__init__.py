"""A prediction server: ``python -m trainer.serve``, after the contract of Vertex AI's custom containers."""
