# Google's APIs and Artifact Registry at restricted.googleapis.com: addresses that no route to the Internet leads to.
# composer/k8s/private-google-access lets pods reach these only.

locals {
  google_apis_range = "199.36.153.4/30"
  google_apis       = ["199.36.153.4", "199.36.153.5", "199.36.153.6", "199.36.153.7"]
  zones = {
    googleapis = "googleapis.com."
    registry   = "pkg.dev."
    containers = "gcr.io."
  }
}

resource "google_dns_managed_zone" "google" {
  #checkov:skip=CKV_GCP_16:DNSSEC is for public zones; a private one is answered inside the VPC and cannot be signed
  for_each = local.zones

  project     = var.project_id
  name        = "f1-training-${each.key}"
  dns_name    = each.value
  description = "Google's services at their private addresses"
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.training.id
    }
  }
}

resource "google_dns_record_set" "addresses" {
  for_each = local.zones

  project      = var.project_id
  managed_zone = google_dns_managed_zone.google[each.key].name
  name         = each.key == "googleapis" ? "restricted.googleapis.com." : each.value
  type         = "A"
  ttl          = 300
  rrdatas      = local.google_apis
}

resource "google_dns_record_set" "names" {
  for_each = local.zones

  project      = var.project_id
  managed_zone = google_dns_managed_zone.google[each.key].name
  name         = "*.${each.value}"
  type         = "CNAME"
  ttl          = 300
  rrdatas      = [each.key == "googleapis" ? "restricted.googleapis.com." : each.value]
}
