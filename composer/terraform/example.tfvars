# Copy it to production.tfvars, put in your names, then: terraform plan -var-file=production.tfvars
project_id         = "f1-strategy"
region             = "europe-west4"
node_zones         = ["europe-west4-a", "europe-west4-b"]
billing_account    = "000000-000000-000000"
monthly_budget_usd = 520
bucket_prefix      = "f1-strategy"
security_group     = "gke-security-groups@example.com"
training_image     = "europe-west4-docker.pkg.dev/f1-strategy/f1/training-worker:0.1.0"

airflow_ui_ranges = {
  office = "203.0.113.0/24"
}
admin_ranges = {
  vpn = "10.200.0.0/24"
}
alert_emails = {
  strategy = "race-strategy@example.com"
}

# fuel_consumption trains on highmem, the tree models on medium.
gpu = {
  accelerator = "nvidia-tesla-t4"
  tiers       = ["medium", "highmem"]
}
