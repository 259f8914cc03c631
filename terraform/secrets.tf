# The secrets without their values: values are added by hand (README.md), so they never stand in terraform's state.

locals {
  secrets = merge(
    { for secret in toset(values(var.tenant_secrets)) : secret => "tenant" },
    local.api_token ? { (var.api_token_secret) = "api" } : {},
  )
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  project   = var.project_id
  secret_id = each.key

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}
