from trainer import worker

worker()
