"""What runs in the pods: chief, workers, evaluation. Never imports Airflow, Kubernetes or ``f1_training``."""
