# Images for pods, and the packages that Composer installs.

resource "google_artifact_registry_repository" "images" {
  project       = var.project_id
  location      = var.region
  repository_id = "f1"
  format        = "DOCKER"
  description   = "Images of chiefs, workers and evaluations, by version and git SHA"
  kms_key_name  = var.kms_key
  labels        = var.labels

  # A tag stays what it was tested as; jobs name the digest anyway.
  docker_config {
    immutable_tags = true
  }

  vulnerability_scanning_config {
    enablement_config = "INHERITED"
  }

  # What has an immutable tag cannot be deleted: releases stay, and what runs can always be pulled. What goes is what a
  # build left without a tag; the newest twenty stay even so, as keep wins over delete.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "1209600s"
    }
  }
}

# The wheel of this package. `make deploy` takes both names, this and that of the images, as its defaults.
resource "google_artifact_registry_repository" "wheels" {
  project       = var.project_id
  location      = var.region
  repository_id = "f1-python"
  format        = "PYTHON"
  description   = "The wheel f1-training"
  kms_key_name  = var.kms_key
  labels        = var.labels

  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "31536000s"
    }
  }
}

# Composer builds without Internet: what is public comes through this mirror.
resource "google_artifact_registry_repository" "mirror" {
  project       = var.project_id
  location      = var.region
  repository_id = "f1-python-mirror"
  format        = "PYTHON"
  mode          = "REMOTE_REPOSITORY"
  description   = "Public packages, kept as they were when they were first asked for"
  kms_key_name  = var.kms_key
  labels        = var.labels

  remote_repository_config {
    python_repository {
      public_repository = "PYPI"
    }
  }
}

# One index for both. Ours goes first: a public package of the same name never takes its place.
resource "google_artifact_registry_repository" "index" {
  project       = var.project_id
  location      = var.region
  repository_id = "f1-python-index"
  format        = "PYTHON"
  mode          = "VIRTUAL_REPOSITORY"
  description   = "What Composer installs from"
  kms_key_name  = var.kms_key
  labels        = var.labels

  virtual_repository_config {
    upstream_policies {
      id         = "wheels"
      repository = google_artifact_registry_repository.wheels.id
      priority   = 20
    }

    upstream_policies {
      id         = "mirror"
      repository = google_artifact_registry_repository.mirror.id
      priority   = 10
    }
  }
}
