variable "bits" {
  type = number

  validation {
    condition     = var.bits > 2
    error_message = "too few"
  }
}
