stage "gptq" "int4" {
  model = = # ERROR: Invalid expression
}
