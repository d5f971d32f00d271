output "buckets" {
  description = "Names of the buckets."
  value = {
    artifacts   = google_storage_bucket.artifacts.name
    models      = google_storage_bucket.models.name
    checkpoints = google_storage_bucket.checkpoints.name
    composer    = google_storage_bucket.composer.name
  }
}

output "datasets" {
  description = "Ids of the datasets by what they hold."
  value       = { for name, dataset in google_bigquery_dataset.of : name => dataset.dataset_id }
}

output "keys" {
  description = "Keys by purpose."
  value       = { for name, key in google_kms_crypto_key.of : name => key.id }

  # Who uses a key needs its agents to have it.
  depends_on = [google_kms_crypto_key_iam_member.agents]
}
