variable "required" { # ERROR: "required" has no default.
  type = string
}

variable "wrong_default" {
  type    = number
  default = "many" # ERROR: The default of "wrong_default" does not fit its type
}

variable "no_type" {
  type = strng # ERROR: Invalid type specification
}

variable "twice" {
  default = 1
}

variable "twice" { # ERROR: variable "twice" stands already in line
  default = 1
}

variable "reference" {
  default = var.twice # ERROR: Variables not allowed
}

variable "unknown_attribute" {
  default = 1
  defualt = 1 # ERROR: A variable has no "defualt". Did you mean default?
}

variable "checked" { # ERROR: bits must be 2 or 4 (variable "checked")
  type    = number
  default = 3
  validation {
    condition     = contains([2, 4], var.checked)
    error_message = "bits must be 2 or 4"
  }
}

variable "half" {
  default = 3
  validation { # ERROR: A validation needs condition and error_message.
    condition = true
  }
}

variable "not_null" {
  nullable = false
  default  = null # ERROR: nullable is false
}

variable "object" {
  type = object({ bits = optional(number, 4), name = string })
  default = { bits = 2 } # ERROR: attribute "name" is required
}

variable "secret" {
  sensitive = true
  default   = "geheim"
}

stage "download" "base" {
  source = var.requird # ERROR: There is no variable "requird". Did you mean required?
}

stage "download" "same" {
  source = var.required
}

stage "download" "sensitive" {
  source = var.secret # ERROR: A sensitive variable must not become part of a stage
}

stage "download" "whole" {
  source = var # ERROR: Write var.NAME.
}

output "sensitive" {
  value = var.secret # ERROR: A sensitive variable cannot be part of an output.
}
