"""Whether a deployment can train: checks from Airflow's side, and the report of all that was found."""
