variable "model" {
  description = "The checkpoint."
  type        = any
  nullable    = false
}

variable "bits" {
  type    = number
  default = 4

  validation {
    condition     = var.bits <= 4
    error_message = "bits is at most 4, not ${var.bits}"
  }
}

variable "note" {
  type    = string
  default = "none"
}

stage "gptq" "int4" {
  model = var.model
  bits  = var.bits
}

output "model" {
  value = gptq.int4.model
}

output "all" {
  value = gptq.int4
}
