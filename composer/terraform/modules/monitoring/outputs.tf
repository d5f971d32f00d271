output "channels" {
  description = "Ids of all notification channels."
  value       = concat(local.emails, var.critical_channels)
}
