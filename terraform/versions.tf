terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50.0" # 6.50.x: the schema that test/terraform checks every argument against
    }
  }

  # The bucket is named at init, so that the same files serve every project:
  #   terraform init -backend-config="bucket=YOUR_STATE_BUCKET"
  backend "gcs" {
    prefix = "st-ingestor"
  }
}

provider "google" {
  project        = var.project_id
  region         = var.region
  default_labels = var.labels
}
