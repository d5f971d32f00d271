"""The chief: waits for the workers, drives boosting segment by segment, and alone writes checkpoints and the result."""
