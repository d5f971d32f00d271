from trainer import chief

chief()
