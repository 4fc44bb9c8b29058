variable "hidden" {
  default   = "a"
  sensitive = true
}

stage "download" "base" {
  source = "https://example.org/base"
}

stage "gptq" "sets" {
  for_each   = { g128 = 128, g32 = 32 }
  model      = download.base.model
  group_size = each.value
}

stage "onnx" "missing" {
  model = gptq.sets["g64"].model # ERROR: gptq.sets has no instance "g64".
}

stage "onnx" "unindexed" {
  model = gptq.sets.model # ERROR: say which instance is meant: gptq.sets["g128"].model.
}

stage "onnx" "indexed" {
  model = download.base["a"].model # ERROR: download.base has no for_each
}

stage "onnx" "number" {
  model = gptq.sets[0].model # ERROR: gptq.sets has no instance
}

stage "onnx" "port" {
  model = gptq.sets["g32"].modell # ERROR: There is no "modell" here. Did you mean model?
}

stage "onnx" "dynamic" {
  for_each = toset(["g32", "g16"])
  model    = gptq.sets[each.key].model # ERROR: gptq.sets has no instance "g16".
}

stage "onnx" "chained" {
  for_each = gptq.sets
  model    = each.value.modle # ERROR: There is no "modle" here. Did you mean model?
}

stage "onnx" "metric" {
  for_each = toset([tostring(gptq.sets["g32"].metrics.bits_per_weight)]) # ERROR: must be known before anything runs
  model    = download.base.model
}

stage "onnx" "null" {
  for_each = null # ERROR: for_each is null.
  model    = download.base.model
}

stage "onnx" "list" {
  for_each = ["a", "b"] # ERROR: Use toset([…]).
  model    = download.base.model
}

stage "onnx" "number_each" {
  for_each = 3 # ERROR: for_each takes a map, a set of strings or a stage that has for_each, not number.
  model    = download.base.model
}

stage "onnx" "numbers" {
  for_each = toset([1, 2]) # ERROR: for_each takes a set of strings
  model    = download.base.model
}

stage "onnx" "secret" {
  for_each = secret("KEYS") # ERROR: for_each must not be a secret
  model    = download.base.model
}

stage "onnx" "sensitive" {
  for_each = toset([var.hidden]) # ERROR: for_each must not be sensitive
  model    = download.base.model
}

stage "onnx" "single" {
  for_each = download.base # ERROR: download.base has no for_each, so there is nothing to go over.
  model    = each.value
}

stage "onnx" "artifact" {
  for_each = download.base.model # ERROR: this is a port
  model    = each.value
}

stage "onnx" "empty_key" {
  for_each = { "" = 1 } # ERROR: empty key
  model    = download.base.model
}

stage "onnx" "unknown" {
  for_each = local.nowhere # ERROR: There is no local "nowhere".
  model    = each.value.model
  nothing  = 1 # ERROR: onnx has no attribute "nothing".
}

stage "onnx" "after_unknown" {
  for_each = onnx.unknown
  model    = each.value.model
}

stage "onnx" "of_unknown" {
  model = onnx.unknown["a"].model
}

stage "onnx" "without" {
  model = each.value # ERROR: each.key and each.value stand only in a stage that has for_each
}

stage "onnx" "wrong_each" {
  for_each = gptq.sets
  model    = each.valu # ERROR: There are each.key and each.value only.
}

# Told once, not once for each instance.
stage "gptq" "repeated" {
  for_each   = { a = "x", b = "y" }
  model      = download.base.model
  group_size = each.value # ERROR: group_size takes a number
}

stage "gptq" "itself" {
  for_each = { for k, v in gptq.itself : k => v } # ERROR: These need one another's values: gptq.itself → gptq.itself.
  model    = download.base.model
}
