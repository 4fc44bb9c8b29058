variable "value" {
  type = any
}

variable "other" {
  type    = any
  default = null
}

output "value" {
  value = var.value
}

output "other" {
  value = var.other
}
