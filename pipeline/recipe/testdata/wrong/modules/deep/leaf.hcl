variable "bits" {
  type = string
}

stage "gptq" "leaf" { # ERROR: gptq needs model
  bits = "${var.bits}${var.bits}" # ERROR: 33
}
