output "accounts" {
  description = "E-mail addresses of the service accounts."
  value       = { for name, account in google_service_account.of : name => account.email }

  # Composer and GKE check what their accounts may do when they are made.
  depends_on = [google_project_iam_member.of, google_service_account_iam_member.composer_agent]
}

output "namespace" {
  description = "The namespace of the pods."
  value       = local.namespace
}

output "kubernetes_accounts" {
  description = "The pods' Kubernetes accounts."
  value       = local.kubernetes_accounts
}
