terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.20, < 8"
    }
    # For google_project_service_identity only.
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.20, < 8"
    }
  }

  # The bucket is given on the command line: terraform init -backend-config=bucket=NAME
  backend "gcs" {
    prefix = "f1-training"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
  # Budgets and deny policies are billed and counted where the resources are.
  user_project_override = true
  billing_project       = var.project_id
}

provider "google-beta" {
  project               = var.project_id
  region                = var.region
  user_project_override = true
  billing_project       = var.project_id
}
