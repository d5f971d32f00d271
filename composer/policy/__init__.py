"""What the Terraform files come to, without a provider: who may do what, who reaches whom, what is deleted when."""
