import trainer

trainer.chief()  # type: ignore[attr-defined]  # the pretending package, not the real one
