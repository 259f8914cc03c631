# ---- Where ----------------------------------------------------------------------------------------------------------

variable "project_id" {
  description = "Google Cloud project that gets everything: datasets, topics, Cloud Run, schedules, alerts."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the project's id (6 to 30 lower-case letters, digits, '-'), not its name or number."
  }
}

variable "region" {
  description = "Region of Cloud Run, Cloud Scheduler and the image repository."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as us-central1, not a zone or multi-region."
  }
}

variable "labels" {
  description = "Labels on every resource that has labels."
  type        = map(string)
  default     = { app = "st-ingestor" }

  validation {
    condition = alltrue([
      for key, value in var.labels :
      can(regex("^[a-z][a-z0-9_-]{0,62}$", key)) && can(regex("^[a-z0-9_-]{0,63}$", value))
    ])
    error_message = "labels have lower-case letters, digits, '_' and '-', at most 63; keys start with a letter."
  }
}

variable "config_file" {
  description = "The config.json that is also in the image: entities with schedules, names of datasets, topics and subscriptions, tenants. A relative path starts at the folder where terraform runs. Null: config/config.json of this repository."
  type        = string
  default     = null
}

# ---- Programs -------------------------------------------------------------------------------------------------------

variable "image" {
  description = "Container image with tag or digest. Null on the first apply: everything but the programs and their alerts is made, so that the image can be pushed and the secrets can be filled."
  type        = string
  default     = null

  validation {
    condition     = var.image == null || can(regex("^[a-z0-9.-]+(/[a-z0-9._-]+)+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image is REGISTRY/PATH/NAME:TAG or REGISTRY/PATH/NAME@sha256:DIGEST; a tag or digest must be given, so that an apply knows what it deploys."
  }
}

variable "service_name" {
  description = "Name of the Cloud Run service of the HTTP API."
  type        = string
  default     = "st-v2-ingestor"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,47}[a-z0-9]$", var.service_name))
    error_message = "service_name has 2 to 49 lower-case letters, digits and '-', and starts with a letter."
  }
}

variable "worker_name" {
  description = "Name of the Cloud Run worker pool."
  type        = string
  default     = "st-v2-ingestor-worker"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,47}[a-z0-9]$", var.worker_name))
    error_message = "worker_name has 2 to 49 lower-case letters, digits and '-', and starts with a letter."
  }
}

variable "worker_instances" {
  description = "Worker instances. A worker pool is scaled by hand: it has no autoscaler of its own, and an instance that waits costs as much as one that works. One runs 8 tasks at once (WORKER_CONCURRENCY); 0 stops the pipeline and keeps its messages."
  type        = number
  default     = 1

  validation {
    condition     = var.worker_instances >= 0 && var.worker_instances <= 100 && floor(var.worker_instances) == var.worker_instances
    error_message = "worker_instances is a whole number from 0 to 100."
  }
}

variable "worker_resources" {
  description = "CPU and memory of one worker instance. Memory does not grow with pages or records."
  type        = object({ cpu = optional(string, "1"), memory = optional(string, "512Mi") })
  default     = {}

  validation {
    condition     = contains(["1", "2", "4", "8"], var.worker_resources.cpu) && can(regex("^[1-9][0-9]*(Mi|Gi)$", var.worker_resources.memory))
    error_message = "worker_resources: cpu is \"1\", \"2\", \"4\" or \"8\"; memory is a number of Mi or Gi."
  }
}

variable "worker_launch_stage" {
  description = "Launch stage of the worker pool. Null: generally available. \"BETA\" where the region has worker pools in preview only."
  type        = string
  default     = null

  validation {
    condition     = var.worker_launch_stage == null || contains(["GA", "BETA"], coalesce(var.worker_launch_stage, "GA"))
    error_message = "worker_launch_stage is null, \"GA\" or \"BETA\"."
  }
}

variable "service_resources" {
  description = "CPU and memory of one instance of the HTTP API."
  type        = object({ cpu = optional(string, "2"), memory = optional(string, "2Gi") })
  default     = {}

  validation {
    condition     = contains(["1", "2", "4", "8"], var.service_resources.cpu) && can(regex("^[1-9][0-9]*(Mi|Gi)$", var.service_resources.memory))
    error_message = "service_resources: cpu is \"1\", \"2\", \"4\" or \"8\"; memory is a number of Mi or Gi."
  }
}

variable "service_instances" {
  description = "Least and most instances of the HTTP API."
  type        = object({ min = optional(number, 0), max = optional(number, 5) })
  default     = {}

  validation {
    condition     = var.service_instances.min >= 0 && var.service_instances.max >= 1 && var.service_instances.min <= var.service_instances.max && var.service_instances.max <= 100
    error_message = "service_instances: 0 <= min <= max, 1 <= max <= 100."
  }
}

variable "service_timeout_seconds" {
  description = "Longest that one HTTP request may take. A request that waits for a run answers 202 before that; see timeout= of the API."
  type        = number
  default     = 3600

  validation {
    condition     = var.service_timeout_seconds >= 60 && var.service_timeout_seconds <= 3600
    error_message = "service_timeout_seconds is from 60 to 3600."
  }
}

variable "service_ingress" {
  description = "Where requests to the HTTP API may come from."
  type        = string
  default     = "INGRESS_TRAFFIC_ALL"

  validation {
    condition     = contains(["INGRESS_TRAFFIC_ALL", "INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"], var.service_ingress)
    error_message = "service_ingress is INGRESS_TRAFFIC_ALL, INGRESS_TRAFFIC_INTERNAL_ONLY or INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER."
  }
}

variable "environment" {
  description = "Further settings of the programs, by the names of the option table: RATE_LIMIT_PER_SECOND, LOG_LEVEL, WORKER_CONCURRENCY and so on. Secrets belong in Secret Manager; see tenant_secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !contains(["PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"], name)])
    error_message = "environment has names of options; PORT and the K_ names belong to Cloud Run."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("(SECRET|TOKEN|APP_KEY|CLIENT_ID)$", name))])
    error_message = "environment is readable by everyone who may look at the service: put secrets into Secret Manager (tenant_secrets)."
  }

  validation {
    condition     = alltrue([for name in keys(var.environment) : !can(regex("^(BQ_PROJECT_ID|BQ_LOCATION|BQ_DATASET_.*|PUBSUB_.*|ST_TENANT_ID|WORKER_PORT|API_ALLOW_UNAUTHENTICATED|.*EMULATOR_HOST)$", name))])
    error_message = "environment cannot set what terraform sets from its own resources and variables; names of datasets, topics and subscriptions are changed in config.json."
  }
}

# ---- Who may call ---------------------------------------------------------------------------------------------------

variable "allow_unauthenticated" {
  description = "Lets anyone on the internet reach the HTTP API. False, because its routes start work that costs requests, slots and money, and show what the company syncs: Cloud Run then lets in the members of `invokers` only, by their Google identity. When true, the program asks for API_TOKEN on every route but /health and /ready."
  type        = bool
  default     = false
}

variable "require_api_token" {
  description = "Asks for API_TOKEN although Cloud Run checks the caller already. Such callers send the identity token as X-Serverless-Authorization and the API token as Authorization. Always in force with allow_unauthenticated."
  type        = bool
  default     = false
}

variable "invokers" {
  description = "Who may call the HTTP API: IAM members such as user:ann@example.com, group:data@example.com, serviceAccount:..."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.invokers : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+$", member))])
    error_message = "invokers are user:, group:, serviceAccount:, domain:, principal: or principalSet: members; for everyone use allow_unauthenticated."
  }
}

variable "operators" {
  description = "Who may run the operator's verbs (status, dispatch, backfill, dlq) from their own machine: they read the logs dataset, publish to both lanes, and read and replay dead letters."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount|principal|principalSet):.+$", member))])
    error_message = "operators are user:, group:, serviceAccount:, principal: or principalSet: members."
  }
}

# ---- Tenants --------------------------------------------------------------------------------------------------------

variable "st_tenant_id" {
  description = "ServiceTitan tenant id, for one tenant. Null when config.json has a tenants list."
  type        = string
  default     = null

  validation {
    condition     = var.st_tenant_id == null || can(regex("^[1-9][0-9]{0,18}$", var.st_tenant_id))
    error_message = "st_tenant_id is a positive number."
  }
}

variable "tenant_secrets" {
  description = "Environment variable => Secret Manager secret that is made for it. For several tenants: one entry for each clientIdEnv, clientSecretEnv and appKeyEnv of config.json's tenants. The values are added by hand and never stand in terraform's state."
  type        = map(string)
  default = {
    ST_CLIENT_ID     = "ST_CLIENT_ID"
    ST_CLIENT_SECRET = "ST_CLIENT_SECRET"
    ST_APP_KEY       = "ST_APP_KEY"
  }

  validation {
    condition     = alltrue([for name, secret in var.tenant_secrets : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && can(regex("^[A-Za-z0-9_-]{1,255}$", secret))])
    error_message = "tenant_secrets maps names of environment variables to names of secrets (letters, digits, '_', '-')."
  }
}

variable "api_token_secret" {
  description = "Secret Manager secret that is made for API_TOKEN, when the HTTP API asks for one."
  type        = string
  default     = "API_TOKEN"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,255}$", var.api_token_secret))
    error_message = "api_token_secret has letters, digits, '_' and '-'."
  }
}

# ---- Schedules ------------------------------------------------------------------------------------------------------

variable "time_zone" {
  description = "Time zone of the schedules. Null: sync.timeZone of config.json, else America/Los_Angeles."
  type        = string
  default     = null

  validation {
    condition     = var.time_zone == null || can(regex("^([A-Za-z_]+(/[A-Za-z0-9_+-]+)+|UTC)$", var.time_zone))
    error_message = "time_zone is a name of the time zone database, such as America/Los_Angeles or UTC."
  }
}

variable "common_schedules" {
  description = "Schedules beside those of config.json's entities. The entity \"all\" becomes one message per enabled entity and tenant."
  type        = map(object({ schedule = string, entity = optional(string, "all"), mode = string }))
  default = {
    all-entities-sync = { schedule = "0 2 * * *", mode = "incremental" }
    weekly-full-sync  = { schedule = "0 3 * * 0", mode = "full" }
  }

  validation {
    condition     = alltrue([for job in values(var.common_schedules) : contains(["incremental", "full"], job.mode) && length(split(" ", job.schedule)) == 5])
    error_message = "common_schedules: mode is incremental or full; schedule has five cron fields."
  }
}

variable "schedules_paused" {
  description = "Makes the schedules without running them: for a first deployment, or while v1 is still the only one that may run."
  type        = bool
  default     = false
}

# ---- Data -----------------------------------------------------------------------------------------------------------

variable "deletion_protection" {
  description = "Refuses to destroy or replace target and log tables. Turn it off only to take the warehouse down with its data."
  type        = bool
  default     = true
}

variable "adopt_existing" {
  description = "Takes over what `st-ingestor init` has made (datasets, tables, views, topics, subscriptions) instead of failing because it exists. Set it for one apply; every object of terraform/generated/init.json must exist then."
  type        = bool
  default     = false
}

# ---- Alerts ---------------------------------------------------------------------------------------------------------

variable "alert_emails" {
  description = "Addresses that get the alerts."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alert_emails are e-mail addresses."
  }
}

variable "notification_channels" {
  description = "Further notification channels that exist already: projects/PROJECT/notificationChannels/ID."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[^/]+$", name))])
    error_message = "notification_channels are projects/PROJECT/notificationChannels/ID."
  }
}

variable "oldest_message_seconds" {
  description = "Alert when a lane's oldest message waits or is worked on for longer. A message stays unacknowledged for as long as its run takes, so the limit lies above the longest full read (live) and above a whole backfill's queue (backfill)."
  type        = object({ live = optional(number, 14400), backfill = optional(number, 86400) })
  default     = {}

  validation {
    condition     = var.oldest_message_seconds.live >= 60 && var.oldest_message_seconds.backfill >= 60
    error_message = "oldest_message_seconds are 60 or more."
  }
}

variable "unfinished_tasks_per_hour" {
  description = "Alert when more tasks than this are given back within an hour. Some are normal: every deployment gives running tasks back."
  type        = number
  default     = 20

  validation {
    condition     = var.unfinished_tasks_per_hour >= 1
    error_message = "unfinished_tasks_per_hour is 1 or more."
  }
}
