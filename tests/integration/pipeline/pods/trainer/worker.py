import trainer

trainer.worker()  # type: ignore[attr-defined]  # the pretending package, not the real one
