"""``make deploy``: a revision onto a Composer environment, step by step, back again when it does not train."""
